"""Loggers of the user's own get what TensorBoard gets, beside it, in the run's directory."""

import csv
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from lightning.pytorch.loggers.logger import Logger

from peft_lightning.__main__ import main
from tests.commands.stopping import AT, WITH
from tests.integration.offline_run import only_run, record


class Noting(Logger):
    """The least that a logger needs: it notes what it is told."""

    name = "noting"
    version = 0
    noted: ClassVar[list[tuple[str, Any, int | None]]] = []

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self.noted.append(("settings", params, None))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.noted.append(("figures", metrics, step))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "csv/metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def points(run: Path, name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row[name])) for row in rows(run) if row.get(name)]


def in_a_file(logger: Any) -> list[str]:
    Path("mine.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    return ["--config", "mine.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flag", "file"])
def test_csv_beside_tensorboard_in_the_run_s_directory(how: str, tiny_fit: list[str]) -> None:
    more = ["--trainer.logger", "CSVLogger"] if how == "flag" else in_a_file([{"class_path": "CSVLogger"}])
    main([*tiny_fit, *more, "--trainer.callbacks+=ModelCheckpoint"])
    run = only_run(Path())
    assert list(run.glob("events.out.tfevents.*"))
    assert {path.name for path in Path().iterdir()} <= {"lightning_logs", "mine.yaml"}
    assert [step for step, _ in points(run, "train/loss")] == [1, 2, 3, 4]
    figures = record(run)
    assert points(run, "test/acc")[-1] == (4, figures["metrics"]["test/acc"])
    assert points(run, "params/trainable")[-1] == (4, figures["params"]["trainable"])
    assert points(run, "time/train_s")[-1] == (4, figures["time"]["train_s"])
    settings = yaml.safe_load((run / "csv/hparams.yaml").read_text())
    assert (settings["method"], settings["method.r"], settings["max_length"]) == ("LoRA", 16, 32)
    # The user's own checkpoints lie where they lay without the logger.
    assert list((run / "checkpoints").glob("epoch=*.ckpt"))


@pytest.mark.slow
def test_a_place_that_the_user_names_is_kept(tiny_fit: list[str]) -> None:
    words = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=elsewhere", "--trainer.logger.name=mine"]
    main([*tiny_fit, *words])
    assert Path("elsewhere/mine/version_0/metrics.csv").is_file()
    assert not (only_run(Path()) / "csv").exists()


def test_any_logger_gets_settings_and_final_figures(tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[str, Any, int | None]] = []
    monkeypatch.setattr(Noting, "noted", noted)
    main([*tiny_fit, "--trainer.logger", "tests.commands.test_trackers.Noting"])
    (settings,) = [content for what, content, _ in noted if what == "settings"]
    assert settings["method"] == "LoRA"
    assert all(isinstance(value, bool | int | float | str) for value in settings.values())
    what, figures, step = noted[-1]
    assert (what, step) == ("figures", 4)
    run = record(only_run(Path()))
    assert {name: figures[name] for name in run["metrics"]} == run["metrics"]
    assert figures["memory/train_peak_rss_gib"] == run["memory"]["train_peak_rss_gib"]
    assert list(only_run(Path()).glob("events.out.tfevents.*"))


def test_without_a_logger_there_is_none_but_the_history(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.logger", "false"])
    run = only_run(Path())
    assert not list(run.glob("events.out.tfevents.*"))
    assert (run / "history.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("at", ["2", "6"])
def test_a_resumed_run_s_rows_are_those_of_an_uninterrupted_one(
    at: str, tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny_fit, "--trainer.callbacks+=tests.commands.stopping.StopAt", "--trainer.logger=CSVLogger"]
    words += ["--trainer.max_epochs", "2", "--checkpoint.every_n_steps", "4", "--checkpoint.max_time_share", "1"]
    monkeypatch.setenv(AT, at)
    monkeypatch.setenv(WITH, "Ctrl-C")
    with pytest.raises(SystemExit):
        main(words)
    run = only_run(Path())
    # What the logger was told before the interruption is on disk.
    assert [step for step, _ in points(run, "train/loss")][-1] == int(at)
    monkeypatch.delenv(AT)
    main([*words, "--ckpt_path", "last"])
    assert [step for step, _ in points(run, "train/loss")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step for step, _ in points(run, "val/loss")[:2]] == [4, 8]
    assert "test/acc" in rows(run)[-1]


@pytest.mark.slow
def test_a_test_logs_into_its_own_folder_and_predict_nowhere(
    tiny_fit: list[str], trained_once: Callable[..., None]
) -> None:
    trained_once("--trainer.logger", "CSVLogger")
    run = only_run(Path())
    before = (run / "csv/metrics.csv").read_bytes()
    words = ["--config", f"{run}/config.yaml", "--ckpt_path", "best"]
    main(["test", *words])
    assert points(run / "test_0", "test/acc")
    Path("texts.txt").write_text("a joy\n")
    main(["predict", *words, "--data.predict_file", "texts.txt"])
    assert (run / "csv/metrics.csv").read_bytes() == before
    assert {path.name for path in Path().iterdir()} == {"lightning_logs", "texts.txt"}
