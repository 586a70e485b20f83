"""One recipe's figures: means over its finished runs. What no run measured is None."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.other_data import other_data
from peft_lightning.compare.report.study import STATES, Recipe, Study
from peft_lightning.compare.statistics import Interval
from peft_lightning.runs.record import RunRecord


@dataclass(frozen=True)
class Figures:
    """A row of the table; memory in GiB, times in seconds, accuracies in 0 to 1.

    Args:
        label: The recipe.
        device: What its runs ran on; None if that is not recorded, or not the same for all of them.
        finished: Number of runs that finished.
        runs: Number of runs.
        state: How most of the runs that began ended, or are, in words.
        trouble: How those ended that did not finish, in words; empty if all did.
        trainable: Trained parameters.
        adapter: Those of an adapter.
        head: Those of the classification head.
        trainable_percent: Share of the original model.
        gpu_allocated_gib: Training peak that torch's allocator gave out.
        gpu_reserved_gib: Training peak that it held.
        gpu_largest_gib: The largest training peak of any run that torch's allocator gave out.
        gpu_largest_reserved_gib: The largest that it held.
        cpu_resident_gib: Training peak of the process's resident memory, on a CPU.
        weights_gib: Memory of the weights.
        gradients_gib: Memory of the gradients.
        optimizer_gib: Memory of the optimiser's state.
        activations_gib: What was allocated at the peak beyond these three.
        train_s: Training, evaluation left out.
        epoch_s: One epoch of it.
        samples_per_s: Throughput of training.
        accuracy: On the test reviews.
        interval: Of 95 %, for new reviews.
        for_new_seeds: Whether it is for new seeds as well; if not, for these trained models.
        f1: Of the test reviews.
        auroc: Of the test reviews.
        checkpoint_bytes: Size of the best checkpoint.
        other_data: What data its runs had, in words, if that is not the comparison's; else empty.
        train_s_each: Training of every single run.
        cpu_resident_each_gib: Training peak of the resident memory of every single run, on a CPU.
    """

    label: str
    device: str | None
    finished: int
    runs: int
    state: str
    trouble: str
    trainable: int | None
    adapter: int | None
    head: int | None
    trainable_percent: float | None
    gpu_allocated_gib: float | None
    gpu_reserved_gib: float | None
    gpu_largest_gib: float | None
    gpu_largest_reserved_gib: float | None
    cpu_resident_gib: float | None
    weights_gib: float | None
    gradients_gib: float | None
    optimizer_gib: float | None
    activations_gib: float | None
    train_s: float | None
    epoch_s: float | None
    samples_per_s: float | None
    accuracy: float | None
    interval: Interval | None
    for_new_seeds: bool
    f1: float | None
    auroc: float | None
    checkpoint_bytes: float | None
    other_data: str
    train_s_each: tuple[float, ...]
    cpu_resident_each_gib: tuple[float, ...]


def summarise(study: Study, findings: Findings) -> tuple[Figures, ...]:
    """Summarises every recipe.

    Args:
        study: The runs.
        findings: Their statistics.
    """
    elsewhere = other_data(study)
    return tuple(_figures(recipe, findings, elsewhere.get(recipe.label, "")) for recipe in study.recipes)


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


def _figures(recipe: Recipe, findings: Findings, elsewhere: str) -> Figures:
    records = [record for _, record in recipe.finished]
    params = next((record.params for record in records if record.params is not None), None)
    measured = findings.accuracies.get(recipe.label)
    # Every figure of the answers is of the very runs that the interval and the tests are of.
    counted = findings.counted[recipe.label]
    return Figures(
        label=recipe.label,
        device=_device(records),
        finished=len(records),
        runs=len(recipe.runs),
        state=_state(recipe),
        trouble=_trouble(recipe),
        trainable=params.trainable if params else None,
        adapter=params.adapter if params else None,
        head=params.head if params else None,
        trainable_percent=params.trainable_percent if params else None,
        gpu_allocated_gib=_mean(record.memory.train_peak_allocated_gib for record in records),
        gpu_reserved_gib=_mean(record.memory.train_peak_reserved_gib for record in records),
        gpu_largest_gib=_largest(record.memory.train_peak_allocated_gib for record in records),
        gpu_largest_reserved_gib=_largest(record.memory.train_peak_reserved_gib for record in records),
        cpu_resident_gib=_mean(record.memory.train_peak_rss_gib for record in records),
        weights_gib=_mean(record.memory.weights_gib for record in records),
        gradients_gib=_mean(record.memory.gradients_gib for record in records),
        optimizer_gib=_mean(record.memory.optimizer_gib for record in records),
        activations_gib=_mean(record.memory.activations_gib for record in records),
        train_s=_mean(record.time.train_s for record in records),
        epoch_s=_mean(second for record in records for second in record.time.epoch_s),
        samples_per_s=_mean(record.time.samples_per_s for record in records),
        accuracy=measured.accuracy if measured else _metric(counted, "test/acc"),
        interval=measured.interval if measured else None,
        for_new_seeds=recipe.label in findings.for_new_seeds,
        f1=_metric(counted, "test/f1"),
        auroc=_metric(counted, "test/auroc"),
        checkpoint_bytes=_mean(record.checkpoint_bytes for record in records),
        other_data=elsewhere,
        train_s_each=_measured(record.time.train_s for record in records),
        cpu_resident_each_gib=_measured(record.memory.train_peak_rss_gib for record in records),
    )


def _device(records: list[RunRecord]) -> str | None:
    devices = {record.environment.device for record in records if record.environment is not None}
    return devices.pop() if len(devices) == 1 else None


def _metric(records: list[RunRecord], name: str) -> float | None:
    # The mean of those that have it would be of other runs than the accuracy.
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
