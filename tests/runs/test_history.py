import csv
from pathlib import Path

import pytest

from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.history import History


def rows(run: RunDirectory) -> list[list[str]]:
    """The file, line by line."""
    with run.history.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A new run's directory."""
    run = RunDirectory(tmp_path, "lora")
    run.create()
    return run


def test_figures_are_kept_to_the_last_bit(run: RunDirectory) -> None:
    history = History(run)
    value = 0.1 + 0.2
    history.log_metrics({"train/loss": value, "epoch": 0}, step=3)
    history.save()
    assert rows(run) == [["step", "name", "value"], ["3", "train/loss", "0.30000000000000004"]]
    assert float(rows(run)[1][2]) == value


def test_a_resumed_run_appends_and_has_one_header(run: RunDirectory) -> None:
    for step in (1, 2):
        history = History(run)
        history.log_metrics({"train/loss": float(step)}, step=step)
        history.finalize("success")
    assert [row[0] for row in rows(run)] == ["step", "1", "2"]


def test_a_history_cut_to_nothing_gets_its_header_again(run: RunDirectory) -> None:
    run.history.write_text("")
    history = History(run)
    history.log_metrics({"val/acc": 0.5}, step=1)
    history.finalize("success")
    assert rows(run)[0] == ["step", "name", "value"]


def test_closing_is_not_the_end(run: RunDirectory) -> None:
    # Lightning closes its loggers after the fit, and the test that follows logs once more.
    history = History(run)
    history.log_metrics({"val/acc": 0.5}, step=1)
    history.finalize("success")
    history.log_metrics({"test/acc": 0.5}, step=1)
    history.finalize("success")
    assert [row[1] for row in rows(run)] == ["name", "val/acc", "test/acc"]
