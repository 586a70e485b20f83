"""The words of a row of the work under way: the same in the live table and in plain lines."""

from peft_lightning.compare.execution.board import Row, peak_memory
from peft_lightning.runs.durations import round_duration
from peft_lightning.task import FIRST, task_named

DASH = "–"
STATUS = {"train": "training", "validate": "validating", "test": "testing", "out_of_memory": "out of memory"}


def status(row: Row) -> str:
    """Says where a row stands.

    Args:
        row: The row.
    """
    return STATUS.get(row.status, row.status)


def steps(row: Row) -> str:
    """Says how many optimiser steps are made, and of how many.

    Args:
        row: The row.
    """
    record = row.outcome.record if row.outcome is not None else None
    if record is not None:
        return str(record.time.steps) if record.time.steps is not None else DASH
    if row.progress is None:
        return DASH
    return f"{row.progress.step}/{row.progress.steps}" if row.progress.steps else str(row.progress.step)


def train_time(row: Row) -> str:
    """Says how long training has taken, evaluation left out.

    Args:
        row: The row.
    """
    record = row.outcome.record if row.outcome is not None else None
    if record is not None:
        return round_duration(record.time.train_s)
    return round_duration(row.progress.train_s if row.progress is not None else None)


def metric(row: Row) -> str:
    """Says how good a run became on the test split, or on the validation split where it is not tested.

    Args:
        row: The row.
    """
    record = row.outcome.record if row.outcome is not None else None
    if record is None:
        return DASH
    headline = task_named(record.problem_type).headline
    return headline.words(record.metrics.get(headline.test, record.metrics.get(headline.validation)))


def metric_name(rows: list[Row]) -> str:
    """Says what that is called: the first record knows.

    Args:
        rows: All rows.
    """
    records = [row.outcome.record for row in rows if row.outcome is not None and row.outcome.record is not None]
    kind = task_named(records[0].problem_type) if records else FIRST
    return kind.headline.name


def peak(row: Row) -> str:
    """Says the peak memory of training.

    Args:
        row: The row.
    """
    record = row.outcome.record if row.outcome is not None else None
    value = peak_memory(record.memory)[0] if record is not None else None
    return f"{value:.2f}" if value is not None else DASH


def memory_name(rows: list[Row]) -> str:
    """Says what the peaks are of: the first record knows.

    Args:
        rows: All rows.
    """
    records = [row.outcome.record for row in rows if row.outcome is not None and row.outcome.record is not None]
    names = [name for value, name in (peak_memory(record.memory) for record in records) if value is not None]
    return names[0] if names else "memory"


def trouble(row: Row) -> str | None:
    """Says why a row did not finish; None if it did, or has not ended.

    Args:
        row: The row.
    """
    if row.outcome is None or row.outcome.finished:
        return None
    return f"{row.job.title}: {row.outcome.status.replace('_', ' ')}: {row.outcome.error}"
