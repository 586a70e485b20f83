"""Summarises the jobs of each recipe, for a table that has no room for a row a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from peft_lightning.compare.display.row_words import DASH
from peft_lightning.compare.execution.board import Row, peak_memory
from peft_lightning.runs.durations import round_duration
from peft_lightning.task import task_named


@dataclass(frozen=True)
class RecipeSummary:
    """The jobs of one recipe; figures are means over those that finished.

    Args:
        label: The recipe, with the value of a sweep.
        jobs: Number of its jobs.
        finished: Number of those that finished.
        failed: Number of those that ended otherwise.
        running: Number of those that run.
        score: Mean of the headline metric, higher is better; None if no job has it.
        cells: Train time, the headline metric and the peak memory in words.
    """

    label: str
    jobs: int
    finished: int
    failed: int
    running: int
    score: float | None
    cells: tuple[str, str, str]

    @property
    def done(self) -> str:
        """How many of its jobs have finished, in words."""
        return f"{self.finished}/{self.jobs}" + (f", {self.failed} failed" if self.failed else "")


def summarise_recipes(rows: Sequence[Row]) -> list[RecipeSummary]:
    """Returns a summary for each recipe: the best so far first, then those without a result in their order."""
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.job.variant, []).append(row)
    found = [_summary(label, jobs) for label, jobs in by_label.items()]
    return sorted(found, key=lambda summary: (summary.score is None, -(summary.score or 0.0)))


def state_in_words(rows: Sequence[Row]) -> str:
    """Counts the jobs by their state: ``12 finished, 1 failed, 8 running, 279 waiting``."""
    ended = [row.outcome for row in rows if row.outcome is not None]
    finished = sum(outcome.finished for outcome in ended)
    running = sum(row.started and row.outcome is None for row in rows)
    counts = {
        "finished": finished,
        "failed": len(ended) - finished,
        "running": running,
        "waiting": len(rows) - len(ended) - running,
    }
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _summary(label: str, jobs: Sequence[Row]) -> RecipeSummary:
    ended = [row.outcome for row in jobs if row.outcome is not None]
    records = [outcome.record for outcome in ended if outcome.finished and outcome.record is not None]
    times = [record.time.train_s for record in records if record.time.train_s is not None]
    peaks = [peak for record in records if (peak := peak_memory(record.memory)[0]) is not None]
    metric = task_named(records[0].problem_type).headline if records else None
    values = []
    if metric is not None:
        tested = [record.metrics.get(metric.test, record.metrics.get(metric.validation)) for record in records]
        values = [value for value in tested if value is not None]
    mean = fmean(values) if values else None
    return RecipeSummary(
        label=label,
        jobs=len(jobs),
        finished=sum(outcome.finished for outcome in ended),
        failed=sum(not outcome.finished for outcome in ended),
        running=sum(row.started and row.outcome is None for row in jobs),
        score=metric.oriented(mean) if metric is not None and mean is not None else None,
        cells=(
            round_duration(fmean(times) if times else None),
            metric.words(mean) if metric is not None else DASH,
            f"{fmean(peaks):.2f}" if peaks else DASH,
        ),
    )
