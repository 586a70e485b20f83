"""The words for a job's row, which the live table and the plain lines share."""

from peft_lightning.compare.execution.board import Row, peak_memory
from peft_lightning.runs.durations import round_duration
from peft_lightning.task import FIRST, task_named

DASH = "–"
STATUS = {"train": "training", "validate": "validating", "test": "testing", "out_of_memory": "out of memory"}


def status(row: Row) -> str:
    """Returns the row's status in words."""
    return STATUS.get(row.status, row.status)


def steps(row: Row) -> str:
    """Returns the optimiser steps done, and of how many."""
    record = row.outcome.record if row.outcome is not None else None
    if record is not None:
        return str(record.time.steps) if record.time.steps is not None else DASH
    if row.progress is None:
        return DASH
    return f"{row.progress.step}/{row.progress.steps}" if row.progress.steps else str(row.progress.step)


def train_time(row: Row) -> str:
    """Returns the training time so far, without evaluation."""
    record = row.outcome.record if row.outcome is not None else None
    if record is not None:
        return round_duration(record.time.train_s)  # a dash where runs shared a device
    return round_duration(row.progress.train_s if row.progress is not None else None)


def metric(row: Row) -> str:
    """Returns the headline metric on the test split, or on the validation split if the run is not tested."""
    record = row.outcome.record if row.outcome is not None else None
    if record is None:
        return DASH
    headline = task_named(record.problem_type).headline
    return headline.words(record.metrics.get(headline.test, record.metrics.get(headline.validation)))


def metric_name(rows: list[Row]) -> str:
    """Returns the headline metric's name, from the first record."""
    records = [row.outcome.record for row in rows if row.outcome is not None and row.outcome.record is not None]
    kind = task_named(records[0].problem_type) if records else FIRST
    return kind.headline.name


def peak(row: Row) -> str:
    """Returns the peak memory of training in GiB."""
    record = row.outcome.record if row.outcome is not None else None
    value = peak_memory(record.memory)[0] if record is not None else None
    return f"{value:.2f}" if value is not None else DASH


def memory_name(rows: list[Row]) -> str:
    """Returns the name of the memory that was measured, from the first record with a peak."""
    records = [row.outcome.record for row in rows if row.outcome is not None and row.outcome.record is not None]
    names = [name for value, name in (peak_memory(record.memory) for record in records) if value is not None]
    return names[0] if names else "memory"


def trouble(row: Row) -> str | None:
    """Returns why a job did not finish; None if it finished or has not ended."""
    if row.outcome is None or row.outcome.finished:
        return None
    return f"{row.job.title}: {row.outcome.status.replace('_', ' ')}: {row.outcome.error}"
