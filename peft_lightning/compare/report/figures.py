"""One recipe's figures: means over its finished runs. What no run measured is None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.other_data import other_data
from peft_lightning.compare.report.study import STATES, Recipe, Study
from peft_lightning.compare.statistics import Interval, MethodScore
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task


@dataclass(frozen=True)
class Sources:
    """What a recipe's figures are read from.

    Args:
        recipe: Its runs.
        findings: The statistics of the study.
        task: What the study's runs are for.
        elsewhere: What data its runs had, in words, if that is not the comparison's; else empty.
    """

    recipe: Recipe
    findings: Findings
    task: type[Task]
    elsewhere: str

    @property
    def records(self) -> list[RunRecord]:
        """The records of the runs that finished."""
        return [record for _, record in self.recipe.finished]

    @property
    def counted(self) -> list[RunRecord]:
        """The records of the very runs that the interval and the tests are of: every metric is of them."""
        return self.findings.counted[self.recipe.label]

    @property
    def measured(self) -> MethodScore | None:
        """The mean score of its answers, where it left any."""
        return self.findings.scores.get(self.recipe.label)


Reading = Mapping[str, Callable[[Sources], Any]]


def _read(read: Callable[[Sources], Any]) -> Reading:
    """How a figure is read, as its field keeps it."""
    return {"read": read}


def _params(name: str) -> Reading:
    return _read(
        lambda of: next((getattr(record.params, name) for record in of.records if record.params is not None), None)
    )


def _memory(name: str) -> Reading:
    return _read(lambda of: _mean(getattr(record.memory, name) for record in of.records))


def _time(name: str) -> Reading:
    return _read(lambda of: _mean(getattr(record.time, name) for record in of.records))


def _headline(of: Sources) -> float | None:
    metric = of.task.headline
    return metric.oriented(of.measured.mean) if of.measured else _metric(of.counted, metric.test)


def _interval(of: Sources) -> Interval | None:
    if of.measured is None:
        return None
    ends = [of.task.headline.oriented(end) for end in (of.measured.interval.low, of.measured.interval.high)]
    return Interval(min(ends), max(ends))


@dataclass(frozen=True)
class Figures:
    """A row of the table, each figure with how it is read; memory in GiB, times in seconds."""

    # The recipe.
    label: str = field(metadata=_read(lambda of: of.recipe.label))
    # What its runs ran on; None if that is not recorded, or not the same for all of them.
    device: str | None = field(metadata=_read(lambda of: _device(of.records)))
    # Numbers of runs: that finished, and in all.
    finished: int = field(metadata=_read(lambda of: len(of.records)))
    runs: int = field(metadata=_read(lambda of: len(of.recipe.runs)))
    # How most of the runs that began ended, or are, in words.
    state: str = field(metadata=_read(lambda of: _state(of.recipe)))
    # How those ended that did not finish, in words; empty if all did.
    trouble: str = field(metadata=_read(lambda of: _trouble(of.recipe)))
    # What data its runs had, in words, if that is not the comparison's; else empty.
    other_data: str = field(metadata=_read(lambda of: of.elsewhere))

    # Trained parameters, those of an adapter, those of the head, and the share of the original model.
    trainable: int | None = field(metadata=_params("trainable"))
    adapter: int | None = field(metadata=_params("adapter"))
    head: int | None = field(metadata=_params("head"))
    trainable_percent: float | None = field(metadata=_params("trainable_percent"))

    # Training peaks: what torch's allocator gave out and what it held, in the mean and in the largest run.
    gpu_allocated_gib: float | None = field(metadata=_memory("train_peak_allocated_gib"))
    gpu_reserved_gib: float | None = field(metadata=_memory("train_peak_reserved_gib"))
    gpu_largest_gib: float | None = field(
        metadata=_read(lambda of: _largest(record.memory.train_peak_allocated_gib for record in of.records))
    )
    gpu_largest_reserved_gib: float | None = field(
        metadata=_read(lambda of: _largest(record.memory.train_peak_reserved_gib for record in of.records))
    )
    # Training peak of the process's resident memory, on a CPU: in the mean, and of every single run.
    cpu_resident_gib: float | None = field(metadata=_memory("train_peak_rss_gib"))
    cpu_resident_each_gib: tuple[float, ...] = field(
        metadata=_read(lambda of: _measured(record.memory.train_peak_rss_gib for record in of.records))
    )
    # What fills the memory: weights, gradients, the optimiser's state, and what was allocated at the peak beyond these.
    weights_gib: float | None = field(metadata=_memory("weights_gib"))
    gradients_gib: float | None = field(metadata=_memory("gradients_gib"))
    optimizer_gib: float | None = field(metadata=_memory("optimizer_gib"))
    activations_gib: float | None = field(metadata=_memory("activations_gib"))

    # Training, evaluation left out: in the mean, of every single run, and of one epoch; and its throughput.
    train_s: float | None = field(metadata=_time("train_s"))
    train_s_each: tuple[float, ...] = field(
        metadata=_read(lambda of: _measured(record.time.train_s for record in of.records))
    )
    epoch_s: float | None = field(
        metadata=_read(lambda of: _mean(second for record in of.records for second in record.time.epoch_s))
    )
    samples_per_s: float | None = field(metadata=_time("samples_per_s"))

    # The task's headline metric on the test reviews, and its interval of 95 %, for new reviews.
    headline: float | None = field(metadata=_read(_headline))
    interval: Interval | None = field(metadata=_read(_interval))
    # Whether that is for new seeds as well; if not, for these trained models.
    for_new_seeds: bool = field(metadata=_read(lambda of: of.recipe.label in of.findings.for_new_seeds))
    # The task's other metrics on the test reviews, by their keys.
    metrics: Mapping[str, float | None] = field(
        metadata=_read(lambda of: {metric.key: _metric(of.counted, metric.test) for metric in of.task.others})
    )
    # Size of the best checkpoint, in bytes.
    checkpoint_bytes: float | None = field(
        metadata=_read(lambda of: _mean(record.checkpoint_bytes for record in of.records))
    )


def summarise(study: Study, findings: Findings) -> tuple[Figures, ...]:
    """Summarises every recipe.

    Args:
        study: The runs.
        findings: Their statistics.
    """
    elsewhere = other_data(study)
    sources = (Sources(one, findings, study.task, elsewhere.get(one.label, "")) for one in study.recipes)
    return tuple(Figures(**{of.name: of.metadata["read"](one) for of in fields(Figures)}) for one in sources)


def of_the_same_data(rows: Sequence[Figures]) -> tuple[list[Figures], list[str]]:
    """Parts the recipes whose figures can be compared, those on the comparison's data, from the others.

    Args:
        rows: The recipes' figures.

    Returns:
        Those that can be compared, and the labels of those on other data.
    """
    return [row for row in rows if not row.other_data], [row.label for row in rows if row.other_data]


def timed_alike(rows: Sequence[Figures]) -> tuple[list[Figures], list[str]]:
    """Parts the recipes whose times can be compared, those on the first one's machine, from the others.

    Args:
        rows: The recipes' figures.

    Returns:
        Those that can be compared, and the labels of those timed elsewhere.
    """
    timed = [row for row in rows if row.train_s is not None]
    device = timed[0].device if timed else None
    return [row for row in timed if row.device == device], [row.label for row in timed if row.device != device]


def _device(records: list[RunRecord]) -> str | None:
    devices = {record.environment.device for record in records if record.environment is not None}
    return devices.pop() if len(devices) == 1 else None


def _metric(records: list[RunRecord], name: str) -> float | None:
    # The mean of those that have it would be of other runs than the headline.
    return _mean(record.metrics.get(name) for record in records if all(name in one.metrics for one in records))


def _mean(values: Iterable[float | None]) -> float | None:
    measured = _measured(values)
    return sum(measured) / len(measured) if measured else None


def _measured(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


def _largest(values: Iterable[float | None]) -> float | None:
    return max(_measured(values), default=None)


def _states(recipe: Recipe) -> Counter[str]:
    return Counter(STATES[run.state] for run in recipe.runs)


def _state(recipe: Recipe) -> str:
    # That one run failed is news, however many others are still waiting.
    begun = {state: count for state, count in _states(recipe).items() if state != STATES["not_started"]}
    return max(begun, key=lambda state: begun[state]) if begun else STATES["not_started"]


def _trouble(recipe: Recipe) -> str:
    counts = _states(recipe)
    return ", ".join(f"{count} {state}" for state, count in counts.items() if state != STATES["finished"])
