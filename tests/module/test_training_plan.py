from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from peft_lightning.errors import UserError
from peft_lightning.module.training_plan import TrainingPlan
from peft_lightning.optim.optimizers import build_schedule


def made(steps: int, groups: int = 1) -> tuple[Optimizer, LRScheduler]:
    optimizer = SGD([{"params": [torch.zeros(1)]} for _ in range(groups)], lr=0.8)
    return optimizer, build_schedule("linear", optimizer, warmup_steps=0, total_steps=steps)


def at_its_end(steps: int) -> dict[str, Any]:
    """What a checkpoint holds of a run's training after its last step."""
    optimizer, schedule = made(steps)
    plan = TrainingPlan()
    plan.begin(steps, optimizer)
    for _ in range(steps):
        optimizer.step()
        schedule.step()
    states = {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": [schedule.state_dict()]}
    return {"peft_lightning": plan.state(), **states}


def rate_where_it_goes_on(checkpoint: dict[str, Any], steps: int) -> float:
    optimizer, schedule = made(steps)
    plan = TrainingPlan()
    plan.restore(checkpoint)
    plan.begin(steps, optimizer)
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    schedule.load_state_dict(checkpoint["lr_schedulers"][0])
    plan.follow([schedule])
    return float(optimizer.param_groups[0]["lr"])


def test_the_rate_is_that_of_the_longer_run_and_otherwise_the_checkpoint_s() -> None:
    assert rate_where_it_goes_on(at_its_end(4), 8) == pytest.approx(0.4)
    assert rate_where_it_goes_on(at_its_end(4), 4) == 0
    # A checkpoint from before plans were kept goes on as it did.
    assert rate_where_it_goes_on(at_its_end(4) | {"peft_lightning": {}}, 8) == 0


def test_an_optimizer_of_other_groups_is_refused_in_a_line() -> None:
    plan = TrainingPlan()
    plan.begin(4, made(4, groups=3)[0])
    # Weights alone, as of best.ckpt, go with any optimiser.
    plan.restore({"peft_lightning": {}})
    plan.begin(4, made(4, groups=3)[0])
    plan.restore(at_its_end(4))
    plan.begin(4, made(4)[0])
    with pytest.raises(UserError, match="older version") as refused:
        plan.begin(4, made(4, groups=3)[0])
    assert "\n" not in str(refused.value)
