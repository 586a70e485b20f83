"""The device, the versions, the backbone and the engine of the runs, and which of them differed between runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from peft_lightning.compare.fairness.settings import short_listing
from peft_lightning.compare.report.hiding import NOTHING, Hiding
from peft_lightning.compare.report.study import Study
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Metric

# What must be the same for figures to be compared, and the consequence if it is not; {metric} is the headline metric.
CRITICAL = {
    "device": "memory and time are not comparable",
    "precision": "memory, time and {metric} are not comparable",
    "deterministic": "time is not comparable",
    "backbone": "this compares pretrained models as much as methods",
    "engine": "memory and time are not comparable",
    "unpadded attention": "memory and time are not comparable",
    "cuDNN attention": "time is not comparable",
    "process start": "start-up time and resident memory are not comparable",
    "micro-batch size": "memory and time are not comparable: a batch that did not fit went through in micro-batches",
    "torch": "memory and time may differ by themselves",
}


@dataclass(frozen=True)
class Surrounding:
    """One property of what the runs ran on, such as the device.

    Args:
        name: The property's name.
        values: Its values, each with the recipes that had it; a single value if it was the same for all.
    """

    name: str
    values: tuple[tuple[str, tuple[str, ...]], ...]


def describe_surroundings(study: Study, hide: Hiding = NOTHING) -> tuple[Surrounding, ...]:
    """Lists the device, the versions, the backbone and the engine of the finished runs.

    Args:
        study: The runs.
        hide: Changes texts and settings that may contain paths of this machine.
    """
    readers: dict[str, Callable[[RunRecord], object]] = {
        "backbone": lambda record: _backbone(record, hide),
        "backbone weights (SHA-256)": lambda record: record.backbone.sha256[:12] if record.backbone else None,
        "texts cut": _texts_cut,
        "engine": _of_steps("name"),
        "process start": lambda record: record.time.start,
        "unpadded attention": _unpadded_attention,
        "cuDNN attention": lambda record: record.engine.cudnn_attention,
        "micro-batch size": _of_steps("micro_batch_size"),
        "reviews (SHA-256)": lambda record: record.dataset.fingerprint[:12] if record.dataset else None,
    }
    found = [_surrounding(study, name, read) for name, read in readers.items()]
    record = next((record for recipe in study.recipes for _, record in recipe.finished if record.environment), None)
    if record is not None and record.environment is not None:
        for field in dataclasses.fields(record.environment):
            found.append(_surrounding(study, field.name, _of_environment(field.name)))
    return tuple(surrounding for surrounding in found if surrounding.values)


def surroundings_in_words(surroundings: tuple[Surrounding, ...], metric: Metric) -> tuple[str, ...]:
    """Returns sentences on what differed and must be the same for figures to be compared."""
    return tuple(
        f"Not all runs had the same {surrounding.name}: "
        + "; ".join(f"{value} in {short_listing(labels)}" for value, labels in surrounding.values)
        + f". So {CRITICAL[surrounding.name].format(metric=metric.name)}."
        for surrounding in surroundings
        if surrounding.name in CRITICAL and len(surrounding.values) > 1
    )


def _of_environment(name: str) -> Callable[[RunRecord], object]:
    return lambda record: getattr(record.environment, name, None)


def _of_steps(name: str) -> Callable[[RunRecord], object]:
    """Reads a figure of a run's steps; where its processes differ, those of all, such as ``8 and 2``."""

    def read(record: RunRecord) -> object:
        own = getattr(record.engine, name)
        each = dict.fromkeys(getattr(steps, name) for steps in record.engine.by_process or ())
        return own if len(each) < 2 else " and ".join(map(str, each))

    return read


def _backbone(record: RunRecord, hide: Hiding) -> str | None:
    if record.backbone is None:
        return None
    revision = f" at {record.backbone.revision}" if record.backbone.revision else ""
    return f"{hide.value(record.backbone.name)}{revision} ({record.backbone.model_type})"


def _texts_cut(record: RunRecord) -> str | None:
    if record.dataset is None:
        return None
    share = f"{100 * record.dataset.truncated_share:.1f} %"
    if record.dataset.windows is not None:
        return f"{share} in training, {record.dataset.length_in_words}"
    return f"{share} at {record.dataset.max_length} tokens"


def _unpadded_attention(record: RunRecord) -> bool | None:
    # A record with cuDNN's attention and without this one is older than unpadded attention.
    if record.engine.unpadded_attention is None and record.engine.cudnn_attention is not None:
        return False
    return record.engine.unpadded_attention


def _surrounding(study: Study, name: str, read: Callable[[RunRecord], object]) -> Surrounding:
    values: dict[str, dict[str, None]] = {}
    for recipe in study.recipes:
        for _, record in recipe.finished:
            value = read(record)
            if value is not None:
                shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
                values.setdefault(shown, {})[recipe.label] = None
    return Surrounding(name, tuple((value, tuple(labels)) for value, labels in values.items()))
