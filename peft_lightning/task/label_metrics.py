"""Metrics of single classes or labels: their names, and the metrics that several tasks share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from peft_lightning.task.metric import Metric

OF_ONE = ("precision", "recall", "f1", "pr_auc")

F1 = Metric("f1", "F1", lowest=0.0, highest=1.0)
F1_MICRO = Metric("f1_micro", "micro F1", lowest=0.0, highest=1.0)
F1_WEIGHTED = Metric("f1_weighted", "weighted F1", lowest=0.0, highest=1.0)
AUROC = Metric("auroc", "AUROC", lowest=0.0, highest=1.0)
PR_AUC = Metric("pr_auc", "PR-AUC", lowest=0.0, highest=1.0)
LOG_LOSS = Metric("log_loss", "log loss", higher_is_better=False, lowest=0.0)
BRIER = Metric("brier", "Brier score", higher_is_better=False, lowest=0.0)
ECE = Metric("ece", "calibration error", higher_is_better=False, lowest=0.0, highest=1.0)


def keys_of_labels(names: Sequence[str], values: Mapping[str, Iterable[float]]) -> dict[str, float]:
    """Names the values of each label: ``recall.positive``. A dot is in no other key.

    Args:
        names: The names of the labels.
        values: Values in their order by the key of the metric.
    """
    words = words_of(names)
    return {
        f"{key}.{word}": float(value)
        for key, of_labels in values.items()
        for word, value in zip(words, of_labels, strict=True)
    }


def metrics_of_labels(names: Sequence[str]) -> tuple[Metric, ...]:
    """Returns precision, recall, F1 and PR-AUC of each label."""
    titles = {"precision": "precision", "recall": "recall", "f1": "F1", "pr_auc": "PR-AUC"}
    return tuple(
        Metric(f"{key}.{word}", f"{titles[key]} of {name}", lowest=0.0, highest=1.0)
        for key in OF_ONE
        for word, name in zip(words_of(names), names, strict=True)
    )


def words_of(names: Sequence[str]) -> list[str]:
    """Returns names of labels as part of a key, which trackers and file systems take; each is another.

    Args:
        names: The names of the labels.
    """
    words = [re.sub(r"[^\w+-]+", "_", name).strip("_") for name in names]
    return [
        word if word and words.count(word) == 1 else f"{word or 'label'}_{number}" for number, word in enumerate(words)
    ]
