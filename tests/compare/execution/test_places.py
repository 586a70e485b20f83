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


@pytest.mark.usefixtures("two_gpus")
def test_runs_that_may_share_fill_the_gpus_in_turn() -> None:
    assert places(None, share_gpu=2) == ["4", "5", "4", "5"]
    assert places(3, share_gpu=8) == ["4", "5", "4"]
    assert places(None, ["auto", "cpu"], share_gpu=3) == [None] * 3


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("jobs", "accelerators", "share_gpu", "message"),
    [
        (5, [], 2, "--jobs 5: there are 2 GPUs, and --share_gpu 2 allows 4 runs: leave --jobs out"),
        (3, ["cpu"], 2, "--jobs 3: the runs share the CPU, and --share_gpu 2 allows 2 runs: leave --jobs out"),
        (None, [], 0, "--share_gpu 0: say 1 or more"),
    ],
)
def test_no_more_runs_share_than_may(jobs: int | None, accelerators: list[str], share_gpu: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        places(jobs, accelerators, share_gpu)


def test_where_there_is_no_gpu_runs_may_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", list)
    assert places(None, share_gpu=2) == [None, None]


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


@pytest.fixture
def five_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0", "1", "2", "3", "6"])


@pytest.mark.usefixtures("five_gpus")
def test_runs_of_several_gpus_share_none() -> None:
    assert places(2, gpus_per_run=2) == ["0,1", "2,3"]
    assert places(1, gpus_per_run=5) == [None]
    assert places(None, ["cpu"], gpus_per_run=8) == [None]


@pytest.mark.usefixtures("five_gpus")
@pytest.mark.parametrize(
    ("jobs", "share_gpu", "gpus_per_run", "message"),
    [
        (3, 1, 2, "--jobs 3: there are 5 GPUs, and each run takes 2: say --jobs 2"),
        (None, 1, 6, "there are 5 GPUs, and runs take 6 each .*: say --devices_per_run 5"),
        (None, 2, 2, "--share_gpu 2: runs of 2 devices each share none"),
    ],
)
def test_too_few_gpus_for_runs_of_several(jobs: int | None, share_gpu: int, gpus_per_run: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        places(jobs, [], share_gpu, gpus_per_run)
