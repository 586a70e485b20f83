from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from peft_lightning.__main__ import main
from peft_lightning.commands.trainer_settings import refuse_long_interval, refuse_places
from peft_lightning.errors import Setting, UserError


def refusal(monkeypatch: pytest.MonkeyPatch, gpus: int, **settings: object) -> str:
    """What is said of some settings on a machine with so many GPUs; nothing if they are taken."""
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: gpus > 0))
    monkeypatch.setattr(CUDAAccelerator, "auto_device_count", staticmethod(lambda: gpus))
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: False))
    try:
        refuse_places({"accelerator": "auto", "devices": 1, "strategy": "auto", "precision": None, **settings})
    except UserError as error:
        return error.worded(Setting.as_flag)
    return ""


@pytest.mark.parametrize(
    ("gpus", "name", "value", "said", "mend"),
    [
        (0, "devices", 0, "trainer.devices 0 is no number of devices", "--trainer.devices 1"),
        (2, "devices", "0", "trainer.devices 0 is no number of devices", "as in --trainer.devices 0,1"),
        (0, "devices", -2, "trainer.devices -2", "--trainer.devices 1"),
        (0, "devices", "two", "trainer.devices two", "--trainer.devices 1"),
        (0, "devices", [], "trainer.devices []", "--trainer.devices 1"),
        (0, "devices", "0,1", "trainer.devices 0,1 names GPUs, and this run is on the CPU", "--trainer.devices 1"),
        (0, "devices", -1, "this run is on the CPU", "--trainer.devices 1"),
        (2, "devices", 3, "trainer.devices 3: this machine has 2 GPUs", "say --trainer.devices 2"),
        (1, "devices", "8", "trainer.devices 8: this machine has 1 GPU:", "say --trainer.devices 1"),
        (2, "devices", "0,7", "trainer.devices 0,7: torch sees 2 GPUs here, numbered from 0", "--trainer.devices 2"),
        (1, "devices", [7], "trainer.devices 7: torch sees 1 GPU here, numbered from 0", "--trainer.devices 1"),
        (2, "devices", "1, 1,", "trainer.devices 1,1 names a GPU twice: name each once", "--trainer.devices 1"),
        (0, "accelerator", "gpu", "trainer.accelerator gpu: torch finds no GPU", "use --trainer.accelerator cpu"),
        (0, "accelerator", "cuda", "trainer.accelerator cuda: torch finds no GPU", "use --trainer.accelerator cpu"),
        (0, "precision", "16-mixed", "trainer.precision 16-mixed is not computed on a CPU", "precision bf16-mixed"),
        (0, "precision", 16, "trainer.precision 16 is not computed on a CPU", "use --trainer.precision bf16-mixed"),
        (2, "strategy", "fsdp", "trainer.strategy fsdp is none that a run has", "--trainer.strategy fsdp2"),
        (2, "strategy", "deepspeed_stage_3", "trainer.strategy deepspeed_stage_3 is none", "--trainer.strategy ddp,"),
        (0, "strategy", "dpp", "trainer.strategy dpp is none that a run has", "--trainer.strategy ddp,"),
    ],
)
def test_what_is_refused_is_named_with_its_mend(
    gpus: int, name: str, value: object, said: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refusal(monkeypatch, gpus, **{name: value})
    assert line.startswith("trainer.")
    assert said in line
    assert mend in line


@pytest.mark.parametrize(
    ("gpus", "settings"),
    [
        (0, {"devices": "auto"}),
        (0, {"devices": "40", "accelerator": "cpu"}),
        (2, {"devices": 40, "accelerator": "cpu"}),
        (2, {"devices": -1}),
        (2, {"devices": [1]}),
        (2, {"devices": "0,1", "accelerator": "gpu"}),
        (2, {"devices": "1,"}),
        (1, {"precision": "16-mixed"}),
        (1, {"strategy": "fsdp2"}),
        (1, {"strategy": "ddp_find_unused_parameters_true"}),
        (1, {"strategy": object()}),
    ],
)
def test_what_lightning_takes_is_taken(gpus: int, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, gpus, **settings) == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.devices", "0"], "trainer.devices 0 is no number of devices: say how many"),
        (["--trainer.strategy", "fsdp", "--trainer.devices", "2"], "trainer.strategy fsdp is none that a run has"),
        (["--trainer.num_nodes", "0"], "trainer.num_nodes is 0: it must be at least 1"),
        (["--trainer.precision", "16-mixed"], "trainer.precision 16-mixed is not computed on a CPU"),
        (["--trainer.val_check_interval", "0"], "trainer.val_check_interval is 0 batches: say at least 1, or"),
    ],
)
def test_a_command_ends_with_that_line(
    words: list[str], said: str, tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"peft_lightning: error: {said}" in error
    assert error.count("\n") == 1
    assert not Path("lightning_logs").exists()


def test_an_interval_is_measured_by_the_batches_of_one_of_several_processes(
    tiny_fit: list[str], unlaunched: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, "--trainer.devices", "2", "--trainer.val_check_interval", "3"])
    assert ended.value.code == 2
    assert "val_check_interval is 3 batches, and an epoch has 2" in capsys.readouterr().err
    assert not Path("lightning_logs").exists()


@pytest.mark.parametrize(("limit", "batches"), [(1.0, 4), (2, 2), (0.5, 2)])
def test_an_interval_longer_than_an_epoch_names_what_is_possible(limit: float, batches: int) -> None:
    def refused(**settings: Any) -> str:
        trainer = Trainer(limit_train_batches=limit, logger=False, enable_model_summary=False, **settings)
        try:
            refuse_long_interval(trainer, 4)
        except UserError as error:
            return error.worded(Setting.as_flag)
        return ""

    line = refused(val_check_interval=batches + 1)
    assert f"is {batches + 1} batches, and an epoch has {batches}: say at most that, or --trainer.val_check_" in line
    assert line.endswith("or --trainer.check_val_every_n_epoch null to count batches from epoch to epoch")
    assert not refused(val_check_interval=batches)
    assert not refused(val_check_interval=1.0)
    assert not refused(val_check_interval=batches + 1, check_val_every_n_epoch=None)
    assert not refused(val_check_interval=batches + 1, limit_val_batches=0)
