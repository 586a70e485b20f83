import torch

from peft_lightning.optim.optimizers import build_schedule
from peft_lightning.optim.restored_rates import follow_own_schedule


def test_a_run_that_goes_on_for_longer_follows_its_own_schedule_at_once() -> None:
    def made(steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": rate} for rate in (0.8, 0.4)])
        return optimizer, build_schedule("linear", optimizer, warmup_steps=0, total_steps=steps)

    (first, its_schedule), (optimizer, schedule) = made(4), made(8)
    for _ in range(4):
        first.step()
        its_schedule.step()
    schedule.load_state_dict(its_schedule.state_dict())
    optimizer.load_state_dict(first.state_dict())
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    follow_own_schedule(schedule)
    assert [group["lr"] for group in optimizer.param_groups] == schedule.get_last_lr() == [0.4, 0.2]
    optimizer.step()
    schedule.step()
    assert [round(group["lr"], 9) for group in optimizer.param_groups] == [0.3, 0.15]
