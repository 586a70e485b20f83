from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from peft_lightning.runs import csv_rows
from peft_lightning.runs.csv_rows import KeptRows, is_local


def logger(folder: Path, kept: int | None = None) -> tuple[CSVLogger, KeptRows]:
    """A CSVLogger with a folder of its own, and its writer."""
    made = CSVLogger(folder, version="mine")
    writer = KeptRows(made.log_dir, kept)
    made._experiment = writer
    return made, writer


def log(made: CSVLogger, *steps: int) -> None:
    """Logs a loss at each step, and a validation at each even one."""
    for step in steps:
        made.log_metrics({"train/loss": 1 / (step + 3)}, step=step)
        made.save()
        if step % 2 == 0:
            made.log_metrics({"val/acc": step / 7, "train/loss": 0.5}, step=step)
            made.save()


def test_a_table_that_is_taken_up_ends_with_the_bytes_of_one_written_at_once(tmp_path: Path) -> None:
    whole, _ = logger(tmp_path / "whole")
    log(whole, 1, 2, 3, 4)
    killed, writer = logger(tmp_path / "killed")
    log(killed, 1)
    kept = writer.written
    log(killed, 2, 3)  # with the column of the validation, after the checkpoint
    resumed, writer = logger(tmp_path / "killed", kept)
    assert writer.written == kept == 1
    log(resumed, 2, 3, 4)
    assert writer.written == 6
    files = [Path(made.log_dir) / "metrics.csv" for made in (whole, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_no_rows_are_kept_where_there_was_no_checkpoint(tmp_path: Path) -> None:
    killed, _ = logger(tmp_path)
    log(killed, 1, 2)
    again, writer = logger(tmp_path, 0)
    assert writer.written == 0
    log(again, 1)
    assert len((Path(again.log_dir) / "metrics.csv").read_text().splitlines()) == 2


def test_a_kill_while_a_column_is_added_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, writer = logger(tmp_path)
    log(made, 1, 3, 5)
    file = Path(made.log_dir) / "metrics.csv"
    before = file.read_bytes()

    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv_rows, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        log(made, 6)
    assert file.read_bytes().startswith(before)
    assert writer.written >= 3


def test_a_bucket_is_no_folder_of_this_machine() -> None:
    assert is_local("tables")
    assert not is_local("s3://bucket/tables")
