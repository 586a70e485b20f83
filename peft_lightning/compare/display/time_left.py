"""Estimates the time left, from the runs that have ended, or before that from the forecast."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.outcomes import Outcome


def time_left(rows: Sequence[Row], forecast_s: Mapping[str, float], at_once: int = 1) -> float | None:
    """Estimates the seconds until the last job has ended.

    Args:
        rows: All jobs.
        forecast_s: Forecast seconds of a run, by the job's variant; may be empty.
        at_once: Number of jobs that run at the same time.

    Returns:
        Seconds; None if nothing is known yet.
    """
    measured: dict[str, list[float]] = {}
    for row in rows:
        if row.outcome is not None and row.outcome.finished and (seconds := whole_s(row.outcome)) is not None:
            measured.setdefault(row.job.variant, []).append(seconds)
    expected = dict(forecast_s) | {label: fmean(values) for label, values in measured.items()}
    # A recipe without a figure is assumed to take the mean of the others.
    usual = fmean(expected.values()) if expected else None
    left = [_left(row, expected.get(row.job.variant, usual)) for row in rows if row.outcome is None]
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(left):
        # The time of a running job follows from its share; waiting jobs are assumed to take as long.
        wholes = [row.elapsed_s / row.share for row in rows if row.outcome is None and row.share > 0]
        if not wholes:
            return None
        known += [fmean(wholes)] * (len(left) - len(known))
    return max([sum(known) / at_once, *known[:at_once]], default=0.0)


def whole_s(outcome: Outcome) -> float | None:
    """Returns the seconds that a run took to start, train and evaluate, over all its attempts.

    Of a run that was not timed, because it shared its device, it returns those of its process.
    """
    if outcome.record is None:
        return None
    if outcome.record.not_measured is not None:
        return outcome.wall_s
    time = outcome.record.time
    parts = [seconds for seconds in (time.startup_s, time.train_s, time.eval_s) if seconds is not None]
    return sum(parts) if parts else None


def _left(row: Row, expected: float | None) -> float | None:
    if not row.started:
        return expected
    if expected is not None:
        # The training time of a resumed run includes that of earlier attempts.
        made = row.progress.train_s if row.progress is not None else 0.0
        return max(0.0, expected - max(row.elapsed_s, made))
    return row.elapsed_s * (1 - row.share) / row.share if row.share > 0 else None
