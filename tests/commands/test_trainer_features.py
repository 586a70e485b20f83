"""What of Lightning would make a record untrue is refused in one line, before anything is read or written."""

import inspect
from pathlib import Path

import lightning.pytorch.callbacks as lightning_callbacks
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import Precision

from peft_lightning.__main__ import main
from peft_lightning.callbacks.unchanged_settings import UnchangedSettings
from peft_lightning.commands.trainer_features import CALLBACKS, refuse_features
from peft_lightning.errors import UserError
from peft_lightning.module.classifier import LoRA, TextClassifier
from tests.callbacks.scripted import ScriptedData, ScriptedModule
from tests.callbacks.scripted import trainer as scripted_trainer
from tests.samples import sampled

DOCS = Path(__file__).resolve().parents[2] / "docs" / "lightning.md"


def monitoring(metric: str) -> tuple[str, str]:
    return "--trainer.callbacks.monitor", metric


def ending(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("peft_lightning: error:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("extra", "expected"),
    sampled(
        [
            (["--trainer.callbacks", "WeightAveraging"], ["WeightAveraging measures other weights"]),
            (["--trainer.callbacks", "EMAWeightAveraging"], ["EMAWeightAveraging measures other weights"]),
            (
                ["--trainer.callbacks", "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.1"],
                ["StochasticWeightAveraging", "leave it out"],
            ),
            (
                ["--trainer.callbacks", "OnExceptionCheckpoint", "--trainer.callbacks.dirpath", "x"],
                ["OnExceptionCheckpoint", "leave it out", "--ckpt_path last"],
            ),
            (["--trainer.callbacks", "BatchSizeFinder"], ["BatchSizeFinder", "--data.batch_size"]),
            (["--trainer.callbacks", "LearningRateFinder"], ["LearningRateFinder", "--model.learning_rate"]),
            (
                ["--trainer.callbacks", "GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 2}"],
                ["GradientAccumulationScheduler", "--trainer.accumulate_grad_batches"],
            ),
            (["--trainer.callbacks", "BackboneFinetuning"], ["BackboneFinetuning", "--model.method"]),
            (
                ["--trainer.callbacks", "ModelPruning", "--trainer.callbacks.pruning_fn", "l1_unstructured"],
                ["ModelPruning", "leave it out"],
            ),
            (["--trainer.overfit_batches", "2"], ["overfit_batches 2", "--data.n_train"]),
            (["--trainer.reload_dataloaders_every_n_epochs", "1"], ["reload_dataloaders_every_n_epochs"]),
            (
                ["--trainer.max_epochs", "-1", "--trainer.max_time", "00:00:01:00"],
                ["model.schedule", "nothing limits them", "--trainer.max_epochs"],
            ),
            (["--trainer.strategy", "fsdp"], ["--trainer.strategy fsdp2"]),
            (
                ["--trainer.strategy", "ddp_spawn", "--trainer.devices", "2"],
                ["strategy ddp_spawn spreads", "--trainer.strategy ddp"],
            ),
            (["--trainer.num_nodes", "2"], ["torchrun or srun on each", "--trainer.num_nodes 1"]),
            (
                ["--trainer.devices", "2", "--trainer.use_distributed_sampler", "true"],
                ["use_distributed_sampler", "count twice"],
            ),
            (["--trainer.barebones", "true"], ["--trainer settings do not go together", "barebones"]),
            (["--trainer.enable_checkpointing", "false"], ["enable_checkpointing"]),
            (["--trainer.devices", "40"], ["n_val 16", "--trainer.devices 16"]),
            (
                ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val_loss"],
                ["EarlyStopping monitors val_loss", "did you mean val/loss?", "val/acc, val/f1, val/auroc, val/loss"],
            ),
            (
                ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/acc"],
                ["EarlyStopping monitors val/acc with mode min", "highest accuracy is best", "mode: max"],
            ),
            (
                ["--trainer.callbacks", "ModelCheckpoint", *monitoring("val/loss"), "--trainer.callbacks.mode", "max"],
                ["ModelCheckpoint monitors val/loss with mode max", "lowest loss is best"],
            ),
            (
                ["--trainer.callbacks", "EarlyStopping", *monitoring("val/loss"), "--trainer.limit_val_batches", "0"],
                ["EarlyStopping", "limit_val_batches 0"],
            ),
            (["--checkpoint.monitor", "val_f1"], ["checkpoint.monitor 'val_f1'", "val/loss", "did you mean val/f1?"]),
            (["--checkpoint.monitor", "test/acc"], ["checkpoint.monitor 'test/acc'", "use val/acc"]),
        ],
        every=3,
    ),
)
def test_refused_before_anything_is_written(
    extra: list[str], expected: list[str], tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = ending([*tiny_fit, *extra], capsys)
    for part in expected:
        assert part in line, line
    assert not Path("lightning_logs").exists()


def test_a_monitor_that_the_validation_rows_leave_undefined_is_refused(
    tiny_fit: list[str], reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alike = [*tiny_fit, "--data.n_val", "1"]
    assert "val/auroc is undefined" in ending([*alike, "--checkpoint.monitor", "val/auroc"], capsys)
    stopping = ["--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/auroc"]
    assert "val/auroc, which is undefined" in ending([*alike, *stopping, "--trainer.callbacks.mode=max"], capsys)


class Quantising(Precision):
    """A precision that replaces layers, as Lightning's for bitsandbytes does, and calls itself 32-true."""


def test_a_precision_that_computes_otherwise_than_it_is_called_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(accelerator="cpu", devices=1, plugins=[Quantising()], logger=False, default_root_dir=tmp_path)
    with pytest.raises(UserError, match=r"Quantising computes otherwise .* precision='bf16-mixed'"):
        refuse_features(trainer, {}, TextClassifier(LoRA()), "fit")


class Quickening(Callback):
    """A callback of a user's own that changes the learning rate."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            pl_module.learning_rate = 1.0  # type: ignore[assignment]


def test_any_other_callback_that_changes_a_recorded_setting_ends_the_run(tmp_path: Path) -> None:
    module = ScriptedModule()
    module.learning_rate = 0.5  # type: ignore[assignment]
    watched = scripted_trainer(tmp_path, Quickening(), UnchangedSettings(), max_epochs=2)
    with pytest.raises(UserError, match=r"changed model.learning_rate from 0.5 to 1.0"):
        watched.fit(module, datamodule=ScriptedData())


@pytest.mark.parametrize(
    ("word", "extra", "expected"),
    [
        ("predict", ["--trainer.limit_predict_batches", "1"], "limit_predict_batches 1 would leave texts"),
        ("predict", ["--trainer.fast_dev_run", "true"], "fast_dev_run would predict a part of the rows"),
        ("test", ["--trainer.fast_dev_run", "true"], "fast_dev_run would test a part of the rows"),
    ],
)
def test_a_part_of_the_rows_is_no_answer(
    word: str, extra: list[str], expected: str, tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in ending([word, *tiny_fit[1:], *extra], capsys)


def test_the_docs_say_what_holds_for_every_argument_and_every_callback_of_lightning() -> None:
    text = DOCS.read_text()
    names = [name for name in inspect.signature(Trainer.__init__).parameters if name != "self"]
    missing = [name for name in (*names, *lightning_callbacks.__all__) if f"`{name}`" not in text]
    assert missing == []
    for refused in CALLBACKS:
        assert f"| `{refused.__name__}`" in text, refused


def test_an_argument_that_is_a_member_of_an_enumeration_is_written_as_its_word(
    tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, "--trainer.callbacks+=Timer", "--trainer.callbacks.duration", "00:00:01:00", "--print_config"])
    assert not ended.value.code
    assert "interval: step" in capsys.readouterr().out
