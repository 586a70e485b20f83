"""The row a run ends with: method, trainable parameters, peak GPU memory, train time, test accuracy."""

from peft_lightning.runs.durations import duration
from peft_lightning.runs.record import RunRecord

HEADERS = ("method", "trainable parameters", "peak GPU memory", "train time", "test accuracy")


def cells(record: RunRecord) -> tuple[str, ...]:
    """Words the row; what was not measured is a dash.

    Args:
        record: The run.
    """
    params = record.params
    peak = record.memory.train_peak_allocated_gib
    accuracy = record.metrics.get("test/acc")
    return (
        record.method,
        f"{params.trainable:,} ({params.trainable_percent:.2f} %)" if params else "–",
        f"{peak:.2f} GiB" if peak is not None else "– (no GPU)",
        duration(record.time.train_s),
        f"{100 * accuracy:.1f} %" if accuracy is not None else "–",
    )


def as_text(record: RunRecord) -> str:
    """Sets the row in columns, for a terminal.

    Args:
        record: The run.
    """
    row = cells(record)
    widths = [max(len(header), len(cell)) for header, cell in zip(HEADERS, row, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in (HEADERS, row)]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(record: RunRecord) -> str:
    """Sets the row as a Markdown table, for TensorBoard's text panel.

    Args:
        record: The run.
    """
    lines = (HEADERS, ("---",) * len(HEADERS), cells(record))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
