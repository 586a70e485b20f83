"""The figures of each recipe: means over its finished runs, or None if no run measured them."""

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
from peft_lightning.task import Metric


@dataclass(frozen=True)
class Sources:
    """What a recipe's figures are read from.

    Args:
        recipe: The recipe with its runs.
        findings: The statistics of the study.
        metric: The metric that recipes are compared by.
        others: The other metrics that are shown.
        elsewhere: The data of its runs in words, if that is not the comparison's; else empty.
    """

    recipe: Recipe
    findings: Findings
    metric: Metric
    others: Sequence[Metric]
    elsewhere: str

    @property
    def records(self) -> list[RunRecord]:
        """The records of the runs that finished."""
        return [record for _, record in self.recipe.finished]

    @property
    def counted(self) -> list[RunRecord]:
        """The records of the runs that the interval and the tests are of; every metric is a mean over them."""
        return self.findings.counted[self.recipe.label]

    @property
    def measured(self) -> MethodScore | None:
        """The mean score of its answers; None if it left none."""
        return self.findings.scores.get(self.recipe.label)


Reading = Mapping[str, Callable[[Sources], Any]]


def _read(read: Callable[[Sources], Any]) -> Reading:
    """Returns the metadata of a field: how its figure is read."""
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
    metric = of.metric
    return metric.oriented(of.measured.mean) if of.measured else _metric(of.counted, metric.test)


def _interval(of: Sources) -> Interval | None:
    if of.measured is None:
        return None
    ends = [of.metric.oriented(end) for end in (of.measured.interval.low, of.measured.interval.high)]
    return Interval(min(ends), max(ends))


@dataclass(frozen=True)
class Figures:
    """A recipe's row of the table. A field's metadata says how it is read. Memory is in GiB, times are in seconds."""

    # The recipe.
    label: str = field(metadata=_read(lambda of: of.recipe.label))
    # The device of its runs; None if that is not recorded, or not the same for all of them.
    device: str | None = field(metadata=_read(lambda of: _device(of.records)))
    # Number of runs that finished, and of all runs.
    finished: int = field(metadata=_read(lambda of: len(of.records)))
    runs: int = field(metadata=_read(lambda of: len(of.recipe.runs)))
    # The most frequent state of the runs that began, in words.
    state: str = field(metadata=_read(lambda of: _state(of.recipe)))
    # The states of the runs that did not finish, in words; empty if all finished.
    trouble: str = field(metadata=_read(lambda of: _trouble(of.recipe)))
    # Why times and memory of its runs were not measured, in words; empty if they were.
    not_measured: str = field(metadata=_read(lambda of: _not_measured(of.records)))
    # The data of its runs in words, if that is not the comparison's; else empty.
    other_data: str = field(metadata=_read(lambda of: of.elsewhere))

    # Trained parameters in all, of the adapter and of the head, and in percent of the original model.
    trainable: int | None = field(metadata=_params("trainable"))
    adapter: int | None = field(metadata=_params("adapter"))
    head: int | None = field(metadata=_params("head"))
    trainable_percent: float | None = field(metadata=_params("trainable_percent"))

    # Training peaks that torch's allocator allocated and reserved: the mean, and the largest of the runs.
    gpu_allocated_gib: float | None = field(metadata=_memory("train_peak_allocated_gib"))
    gpu_reserved_gib: float | None = field(metadata=_memory("train_peak_reserved_gib"))
    gpu_largest_gib: float | None = field(
        metadata=_read(lambda of: _largest(record.memory.train_peak_allocated_gib for record in of.records))
    )
    gpu_largest_reserved_gib: float | None = field(
        metadata=_read(lambda of: _largest(record.memory.train_peak_reserved_gib for record in of.records))
    )
    # Training peak of the process's resident memory, on a CPU: the mean, and that of every run.
    cpu_resident_gib: float | None = field(metadata=_memory("train_peak_rss_gib"))
    cpu_resident_each_gib: tuple[float, ...] = field(
        metadata=_read(lambda of: _measured(record.memory.train_peak_rss_gib for record in of.records))
    )
    # Parts of the memory: weights, gradients, the optimiser's state, and what was allocated at the peak beyond these.
    weights_gib: float | None = field(metadata=_memory("weights_gib"))
    gradients_gib: float | None = field(metadata=_memory("gradients_gib"))
    optimizer_gib: float | None = field(metadata=_memory("optimizer_gib"))
    activations_gib: float | None = field(metadata=_memory("activations_gib"))

    # Training time without evaluation: the mean, that of every run, and that of an epoch; and the throughput.
    train_s: float | None = field(metadata=_time("train_s"))
    train_s_each: tuple[float, ...] = field(
        metadata=_read(lambda of: _measured(record.time.train_s for record in of.records))
    )
    epoch_s: float | None = field(
        metadata=_read(lambda of: _mean(second for record in of.records for second in record.time.epoch_s))
    )
    samples_per_s: float | None = field(metadata=_time("samples_per_s"))

    # The metric that recipes are compared by on the test reviews, and its 95 % interval for new reviews.
    headline: float | None = field(metadata=_read(_headline))
    interval: Interval | None = field(metadata=_read(_interval))
    # The letters of the groups of recipes that are not told apart from it; empty if there are no groups.
    letters: str = field(metadata=_read(lambda of: of.findings.letters.get(of.recipe.label, "")))
    # Whether the interval is for new seeds too; else it is for these trained models.
    for_new_seeds: bool = field(metadata=_read(lambda of: of.recipe.label in of.findings.for_new_seeds))
    # The other metrics that are shown, on the test reviews, by their keys.
    metrics: Mapping[str, float | None] = field(
        metadata=_read(lambda of: {metric.key: _metric(of.counted, metric.test) for metric in of.others})
    )
    # Size of the best checkpoint, in bytes.
    checkpoint_bytes: float | None = field(
        metadata=_read(lambda of: _mean(record.checkpoint_bytes for record in of.records))
    )


def summarise(study: Study, findings: Findings) -> tuple[Figures, ...]:
    """Returns the figures of every recipe."""
    elsewhere = other_data(study)
    metric, *others = study.shown
    sources = (Sources(recipe, findings, metric, others, elsewhere.get(recipe.label, "")) for recipe in study.recipes)
    return tuple(Figures(**{of.name: of.metadata["read"](source) for of in fields(Figures)}) for source in sources)


def of_the_same_data(rows: Sequence[Figures]) -> tuple[list[Figures], list[str]]:
    """Separates the recipes that ran on the comparison's data, whose figures can be compared, from the others.

    Returns:
        The rows that can be compared, and the labels of the recipes on other data.
    """
    return [row for row in rows if not row.other_data], [row.label for row in rows if row.other_data]


def timed_alike(rows: Sequence[Figures]) -> tuple[list[Figures], list[str]]:
    """Separates the recipes that ran on the first recipe's device, whose times can be compared, from the others.

    Returns:
        The rows that can be compared, and the labels of the recipes timed on another device.
    """
    timed = [row for row in rows if row.train_s is not None]
    device = timed[0].device if timed else None
    return [row for row in timed if row.device == device], [row.label for row in timed if row.device != device]


def _device(records: list[RunRecord]) -> str | None:
    devices = {record.environment.device for record in records if record.environment is not None}
    return devices.pop() if len(devices) == 1 else None


def _not_measured(records: list[RunRecord]) -> str:
    reasons = [record.not_measured for record in records if record.not_measured is not None]
    if not reasons:
        return ""
    which = "" if len(reasons) == len(records) else f" in {len(reasons)} of {len(records)} runs"
    return "; ".join(dict.fromkeys(reasons)) + which


def _metric(records: list[RunRecord], name: str) -> float | None:
    # A mean over only the runs that have the metric would be of other runs than the headline metric's.
    values = [record.metrics.get(name) for record in records]
    return None if None in values else _mean(values)


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
    # Runs that have not started are left out, so that a failed run shows however many still wait.
    begun = {state: count for state, count in _states(recipe).items() if state != STATES["not_started"]}
    return max(begun, key=lambda state: begun[state]) if begun else STATES["not_started"]


def _trouble(recipe: Recipe) -> str:
    counts = _states(recipe)
    return ", ".join(f"{count} {state}" for state, count in counts.items() if state != STATES["finished"])
