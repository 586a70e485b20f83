"""The summary row of a run: method, trainable parameters, peak GPU memory, train time, and test metric."""

from peft_lightning.runs.durations import duration
from peft_lightning.runs.markdown import escaped
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import task_named


def headers(record: RunRecord) -> tuple[str, ...]:
    """Returns the headers of the row's cells."""
    metric = task_named(record.problem_type).headline
    return ("method", "trainable parameters", "peak GPU memory", "train time", f"test {metric.name}")


def cells(record: RunRecord) -> tuple[str, ...]:
    """Returns the cells of the row; a dash for what was not measured."""
    params = record.params
    peak = record.memory.train_peak_allocated_gib
    metric = task_named(record.problem_type).headline
    return (
        record.method,
        f"{params.trainable:,} ({params.trainable_percent:.2f} %)" if params else "–",
        f"{peak:.2f} GiB" if peak is not None else "– (shared)" if record.not_measured else "– (no GPU)",
        duration(record.time.train_s),
        metric.words(record.metrics.get(metric.test)),
    )


def as_text(record: RunRecord) -> str:
    """Formats the row in aligned columns, for a terminal."""
    table = (headers(record), cells(record))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in table]
    return "\n".join(line.rstrip() for line in lines)


def chosen_by(record: RunRecord, monitor: str | None) -> str:
    """Returns a line with the test figure of the metric that chose the checkpoint; empty where the row has it.

    Args:
        record: The run's record.
        monitor: The metric that was named, such as ``val/mcc``; None for the task's own.
    """
    kind = task_named(record.problem_type)
    if monitor is None or monitor == kind.headline.validation or not record.metrics:
        return ""
    metric = kind.metric(monitor)
    return f"\n\n{metric.test} {metric.words(record.metrics.get(metric.test))}: {monitor} has chosen the checkpoint"


def as_markdown(record: RunRecord) -> str:
    """Formats the row as a Markdown table, for TensorBoard's text panel."""
    titles = headers(record)
    lines = (titles, ("---",) * len(titles), tuple(map(escaped, cells(record))))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
