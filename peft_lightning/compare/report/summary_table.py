"""The table of the study, a row for each recipe: its columns, its legend, and its Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.figures import Figures
from peft_lightning.runs.durations import duration
from peft_lightning.runs.markdown import escaped
from peft_lightning.task import Metric

Cell = Callable[[Figures], str]


@dataclass(frozen=True)
class Column:
    """A column of the table, whose cells may have a second line.

    Args:
        title: The title of the first line.
        cell: Returns the first line.
        second_title: The title of the second line; empty if there is none.
        second: Returns the second line.
        weight: The column's importance; narrow terminals drop the least important columns first.
    """

    title: str
    cell: Cell
    second_title: str = ""
    second: Cell = lambda _: ""
    weight: int = 9


def _parameters(row: Figures) -> str:
    if row.trainable is None or row.trainable_percent is None:
        return words.DASH
    share = "100" if row.trainable_percent == 100 else f"{row.trainable_percent:.2f}"
    return f"{row.trainable:,} ({share} %)"


def _parts(row: Figures) -> str:
    return f"{words.count(row.adapter)} + {words.count(row.head)}" if row.head is not None else words.DASH


def _seeds(row: Figures) -> str:
    done = words.runs(row.runs) if row.finished == row.runs else f"{row.finished} of {words.runs(row.runs)}"
    return f"{done}, other data" if row.other_data else done


RECIPE = Column("recipe", lambda row: row.label, "seeds done", _seeds)
GROUPS = Column("group", lambda row: row.letters or words.DASH, weight=9)
PARAMETERS = Column("trained parameters", _parameters, "adapter + head", _parts, 8)
GPU = Column(
    "GPU memory",
    lambda row: words.gibibytes(row.gpu_allocated_gib),
    "reserved",
    lambda row: words.gibibytes(row.gpu_reserved_gib),
    7,
)
CPU = Column("CPU memory", lambda row: words.gibibytes(row.cpu_resident_gib), weight=5)
TIME = Column("train time", lambda row: duration(row.train_s), "per epoch", lambda row: duration(row.epoch_s), 6)
THROUGHPUT = Column("samples/s", lambda row: words.rate(row.samples_per_s), weight=2)
CHECKPOINT = Column("checkpoint", lambda row: words.megabytes(row.checkpoint_bytes), weight=4)


def columns(rows: Sequence[Figures], metrics: Sequence[Metric]) -> list[Column]:
    """Returns the columns; resident memory has one only if a run was on a CPU.

    Args:
        rows: The figures of every recipe.
        metrics: The metrics, first that which recipes are compared by.
    """
    on_cpu = any(row.cpu_resident_gib is not None for row in rows)
    memory = [GPU, CPU] if on_cpu else [GPU]
    quality = [_headline(metrics[0]), *([GROUPS] if any(row.letters for row in rows) else [])]
    return [RECIPE, *quality, PARAMETERS, *memory, TIME, THROUGHPUT, *_others(metrics[1:]), CHECKPOINT]


def _headline(metric: Metric) -> Column:
    return Column(
        f"test {metric.name}",
        lambda row: row.state if row.finished == 0 else metric.words(row.headline),
        "95 % interval",
        lambda row: words.span(row.interval, metric),
        9,
    )


def _others(metrics: Sequence[Metric]) -> list[Column]:
    """Returns the columns of the other metrics, two in each."""
    columns = [Column(metric.name, _cell(metric), weight=3) for metric in metrics[::2]]
    for place, metric in enumerate(metrics[1::2]):
        columns[place] = replace(columns[place], second_title=metric.name, second=_cell(metric))
    return columns


def _cell(metric: Metric) -> Cell:
    return lambda row: metric.words(row.metrics[metric.key])


def legend(rows: Sequence[Figures], metric: Metric) -> list[str]:
    """Returns sentences that explain the columns; ``metric`` is the one with an interval."""
    sentences = [
        "Means over the finished seeds.",
        _of_intervals(rows, metric),
        *_of_groups(rows),
        "Training time leaves evaluation out. Parameters are counted in percent of the original model; full fine-tuning"
        " has no adapter and trains the whole encoder beside the head.",
    ]
    if any(row.gpu_allocated_gib is not None for row in rows):
        sentences.append(
            "GPU memory is the peak in training that torch's allocator gave out, and below that what it held."
        )
    elif not any(row.not_measured for row in rows):
        sentences.append("No run used a GPU, so GPU memory was not measured.")
    if any(row.cpu_resident_gib is not None for row in rows):
        sentences.append("CPU memory is the peak of the whole process, libraries included: no measure of GPU memory.")
    return [*on_other_data(rows, metric), *not_measured(rows), *sentences]


def not_measured(rows: Sequence[Figures]) -> list[str]:
    """Returns sentences on recipes whose times and memory were not measured, and why."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        if row.not_measured:
            labels.setdefault(row.not_measured, []).append(row.label)
    return [
        f"Times and memory{'' if len(of) == len(rows) else f' of {listing(of)}'} were not measured: {why}."
        for why, of in labels.items()
    ]


def on_other_data(rows: Sequence[Figures], metric: Metric) -> list[str]:
    """Returns sentences on recipes that are shown but not compared, because they ran on other data."""
    return [
        f"{row.label} ran on other data than the comparison's own recipes ({row.other_data}): its memory, time and"
        f" {metric.name} are not comparable."
        for row in rows
        if row.other_data
    ]


def _of_intervals(rows: Sequence[Figures], metric: Metric) -> str:
    measured = [row for row in rows if row.interval is not None]
    alone = [row.label for row in measured if not row.for_new_seeds]
    if len(alone) == len(measured):
        return f"The interval of the {metric.name} is for new reviews and these trained models."
    sentence = f"The interval of the {metric.name} is for new reviews and new seeds"
    if not alone:
        return f"{sentence}."
    return (
        f"{sentence}; that of {listing(alone)}, with one seed measured alone, for new reviews and that trained model."
    )


def _of_groups(rows: Sequence[Figures]) -> list[str]:
    if not any(row.letters for row in rows):
        return []
    return ["Two recipes that share a letter of their groups are not told apart; two without a common letter are."]


def as_markdown(rows: Sequence[Figures], metrics: Sequence[Metric]) -> str:
    """Returns the table in Markdown, with every figure in a column of its own.

    Args:
        rows: The figures of every recipe.
        metrics: The metrics, first that which recipes are compared by.
    """
    plain: list[tuple[str, Cell]] = []
    for column in columns(rows, metrics):
        plain.append((column.title, column.cell))
        if column.second_title:
            title = f"{column.title}, {column.second_title}" if column in (GPU, TIME) else column.second_title
            plain.append((title, column.second))
    lines = [
        [escaped(visible(title)) for title, _ in plain],
        ["---", *("---:" if title != "seeds done" else "---" for title, _ in plain[1:])],
        *([escaped(visible(cell(row))) for _, cell in plain] for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
