"""What a run that goes on keeps of the settings, files and rows that were there before."""

import csv
from pathlib import Path

import pytest
import torch

from peft_lightning.__main__ import main
from tests.commands.test_resume import LAST, STOPPABLE, interrupt, refusal
from tests.integration.offline_run import checkpoint, history, only_run, record, same


def points(run: Path, name: str) -> dict[int, float]:
    return {int(step): float(value) for step, what, value in history(run) if what == name}


def test_other_settings_or_data_than_the_checkpoint_s_are_refused_by_name_and_value(
    tiny_fit: list[str], reviews: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main(tiny_fit)
    file = only_run(Path()) / "checkpoints/last.ckpt"
    longer = [*tiny_fit, "--trainer.max_epochs", "2", "--ckpt_path", str(file)]
    line = refusal([*longer, "--model.learning_rate", "0.01", "--model.optimizer", "adamw_8bit"], capfd)
    assert f"{file} was trained with" in line
    assert "--model.optimizer adamw (here adamw_8bit) and --model.learning_rate 0.0003 (here 0.01)" in line
    assert "leave --ckpt_path out to train anew" in line
    line = refusal([*longer, "--data.n_train", "24", "--data.batch_size", "4"], capfd)
    assert "--data.n_train 32 (here 24) and --data.batch_size 8 (here 4)" in line
    train = reviews / "train.jsonl"
    train.write_text(train.read_text().replace("said viewer", "wrote viewer"))
    assert "was trained with other texts or labels" in refusal(longer, capfd)


@pytest.mark.slow
def test_a_longer_run_has_the_schedule_of_its_length_from_there_on_and_its_record_says_so(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    main(tiny_fit)
    first = only_run(Path())
    file = first / "checkpoints/last.ckpt"
    # What changes no step may change: where texts come from, who logs, how it is validated.
    free = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "tables", "--data.eval_batch_size", "4"]
    main([*tiny_fit, "--trainer.max_epochs", "2", *free, "--ckpt_path", str(file)])
    second = first.with_name("version_1")
    (note,) = record(second)["notes"]
    assert f"goes on from step 4 of {file}" in note
    assert "a schedule of 4 steps, from there one of 8" in note
    assert note in capfd.readouterr().out
    whole = first.with_name("version_2")
    main([*tiny_fit, "--trainer.max_epochs", "2"])
    rates, expected = points(second, "train/learning_rate"), points(whole, "train/learning_rate")
    assert rates == {step: expected[step] for step in (5, 6, 7, 8)}
    assert min(rates.values()) > 0
    assert record(whole)["notes"] == []


@pytest.mark.slow
def test_a_run_that_is_shorter_than_its_checkpoint_is_refused(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_fit, "--trainer.max_epochs", "2"])
    file = only_run(Path()) / "checkpoints/last.ckpt"
    line = refusal([*tiny_fit, "--ckpt_path", str(file)], capfd)
    assert f"{file} is of step 8, and this run ends with step 4: raise --trainer.max_epochs" in line


def test_a_checkpoint_of_another_number_of_processes_is_refused_before_a_folder_is_made(
    tiny_fit: list[str], unlaunched: None, capfd: pytest.CaptureFixture[str]
) -> None:
    main(tiny_fit)
    file = only_run(Path()) / "checkpoints/last.ckpt"
    longer = [*tiny_fit, "--trainer.max_epochs", "4", "--trainer.devices", "2", "--ckpt_path", str(file)]
    line = refusal(longer, capfd)
    assert f"{file} was trained by 1 process in 4 batches an epoch, and 2 would take 2" in line
    assert "go on with --trainer.devices 1, or leave --ckpt_path out" in line


@pytest.mark.slow
def test_last_names_what_the_unfinished_run_has_otherwise(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    line = refusal([*words, "--model.weight_decay", "0.1", *LAST], capfd)
    assert f"{run}, the newest one, has --model.weight_decay 0.0 (here 0.1)" in line


@pytest.mark.slow
def test_a_checkpoint_of_an_older_version_still_goes_on(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    first = only_run(Path())
    file = first / "checkpoints/last.ckpt"
    content = checkpoint(file)
    for section in ("peft_lightning_settings", "peft_lightning_trainer", "peft_lightning_elsewhere"):
        del content[section]
    del content["peft_lightning"]["planned_steps"]
    del content["callbacks"]["RunRecorder"]["origins"]
    torch.save(content, file)
    main([*tiny_fit, "--trainer.max_epochs", "2", "--model.learning_rate", "1e-3", "--ckpt_path", str(file)])
    second = first.with_name("version_1")
    assert list(points(second, "train/loss")) == [5, 6, 7, 8]


@pytest.mark.slow
def test_one_s_own_callbacks_and_tables_end_as_if_nothing_had_happened(tiny_fit: list[str]) -> None:
    own = [
        *("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "tables"),
        *("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/loss"),
        *("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.dirpath", "kept"),
        *("--trainer.callbacks.every_n_train_steps", "1", "--trainer.callbacks.save_top_k", "-1"),
        # In the run's own folder, whose last.ckpt is not its.
        *("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last", "true"),
    ]
    # The last checkpoint is of step 4, so those of steps 5 and 6 are written again.
    words = [*tiny_fit, *STOPPABLE, *own, "--checkpoint.every_n_steps", "100"]
    run = interrupt(words, at="6")
    assert len(list(Path("kept").glob("*"))) == 6
    main([*words, *LAST])
    assert sorted(path.name for path in Path("kept").glob("*")) == [
        f"epoch={(step - 1) // 4}-step={step}.ckpt" for step in range(1, 9)
    ]
    (table,) = Path("tables").rglob("metrics.csv")
    with table.open(newline="") as file:
        resumed = [(row["step"], row["train/loss"], row["val/loss"]) for row in csv.DictReader(file)]
    # Beside the run's own lie the checkpoints of the one that names no folder.
    beside = {path.name for path in (run / "checkpoints").glob("*.ckpt")}
    kept = {path.name: checkpoint(path) for path in Path("kept").glob("*")}
    Path("kept").rename("kept_resumed")
    Path("tables").rename("tables_resumed")
    main(words)
    (table,) = Path("tables").rglob("metrics.csv")
    with table.open(newline="") as file:
        assert resumed == [(row["step"], row["train/loss"], row["val/loss"]) for row in csv.DictReader(file)]
    again = {path.name for path in (run.with_name("version_1") / "checkpoints").glob("*.ckpt")}
    assert beside == again == {"best.ckpt", "last.ckpt", "epoch=1-step=8.ckpt", "last-v1.ckpt"}
    for name, content in kept.items():
        for part in ("state_dict", "optimizer_states", "loops"):
            assert same(content[part], checkpoint(Path("kept") / name)[part]), (name, part)
    assert history(run) == history(run.with_name("version_1"))
    assert record(run)["notes"] == record(run.with_name("version_1"))["notes"] == []


@pytest.mark.slow
def test_the_run_s_own_checkpoints_are_no_names_for_others(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    own = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last", "true"]
    own += ["--trainer.callbacks.every_n_train_steps", "1", "--trainer.callbacks.save_weights_only", "true"]
    line = refusal([*tiny_fit, *own, "--trainer.callbacks.enable_version_counter", "false"], capfd)
    assert "ModelCheckpoint would write last.ckpt over the run's own" in line
    main([*tiny_fit, *own])
    folder = only_run(Path()) / "checkpoints"
    # Of step 1 on, before the run's own was there; it has weights only, from which nothing goes on.
    assert {path.name for path in folder.glob("last*")} == {"last.ckpt", "last-v1.ckpt"}
    assert "optimizer_states" in checkpoint(folder / "last.ckpt")
    assert "optimizer_states" not in checkpoint(folder / "last-v1.ckpt")
