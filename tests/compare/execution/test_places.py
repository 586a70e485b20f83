import pytest

from peft_lightning.compare.execution import places as devices
from peft_lightning.compare.execution.places import places, visible_gpus
from peft_lightning.errors import UserError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["4", "5"])


def test_one_job_takes_what_there_is() -> None:
    assert places(1, ["cpu", "auto"]) == [None]


@pytest.mark.usefixtures("two_gpus")
def test_every_job_has_a_gpu_of_its_own() -> None:
    assert places(2) == ["4", "5"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("jobs", "accelerators", "message"),
    [
        (3, [], "there are 2 GPUs.*measure neither memory nor time.*say --jobs 2"),
        (2, ["auto", "cpu"], "trainer.accelerator is cpu.*leave --jobs out"),
        (0, [], "say 1 or more"),
    ],
)
def test_runs_never_share_a_device(jobs: int, accelerators: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        places(jobs, accelerators)


def test_a_machine_without_a_gpu_runs_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", list)
    with pytest.raises(UserError, match=r"no GPU here.*leave --jobs out"):
        places(2)


@pytest.mark.parametrize(
    ("named", "count", "expected"),
    [(None, 3, ["0", "1", "2"]), ("2, 0", 2, ["2", "0"]), ("GPU-8a,GPU-7b", 2, ["GPU-8a", "GPU-7b"]), ("", 0, [])],
)
def test_the_user_s_choice_of_gpus_holds(
    named: str | None, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    # What torch makes of that variable, on a machine with GPUs.
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert visible_gpus() == expected
