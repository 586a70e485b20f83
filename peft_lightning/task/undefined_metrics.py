"""Which metrics have no value on an evaluation, whatever the answers: of classes, of sets of labels and of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.label_metrics import OF_ONE, words_of


def undefined_of_classes(targets: npt.NDArray[Any], names: Sequence[str]) -> frozenset[str]:
    """Returns AUROC and MCC if all examples are of one class, and what a class without examples has no value of.

    Args:
        targets: Classes, shape (n,).
        names: The names of the classes.

    Returns:
        The keys of the metrics.
    """
    present = set(np.unique(targets).tolist())
    lacking = {
        f"{key}.{word}"
        for number, word in enumerate(words_of(names))
        if number not in present
        for key in OF_ONE
        if key != "precision"
    }
    return frozenset(lacking | ({"auroc", "mcc"} if len(present) < 2 else set()))


def undefined_of_sets(targets: npt.NDArray[Any], names: Sequence[str]) -> frozenset[str]:
    """Returns the metrics of labels that no example has, and of all labels if none is told apart.

    Args:
        targets: 1 where an example has the label, else 0, shape (n, labels).
        names: The names of the labels.

    Returns:
        The keys of the metrics.
    """
    having = targets.sum(axis=0)
    lacking = {
        f"{key}.{word}"
        for key in ("recall", "f1", "pr_auc")
        for word, n in zip(words_of(names), having, strict=True)
        if not n
    }
    if not having.any():
        lacking |= {"f1", "f1_micro", "f1_weighted", "pr_auc"}
    if not ((having > 0) & (having < len(targets))).any():
        lacking.add("auroc")
    return frozenset(lacking)


def undefined_of_numbers(targets: npt.NDArray[Any]) -> frozenset[str]:
    """Returns R² and the correlations if all labels are the same.

    Args:
        targets: The numbers, shape (n,) or (n, numbers).

    Returns:
        The keys of the metrics.
    """
    flat = targets.reshape(len(targets), -1)
    constant = (flat == flat[:1]).all(axis=0).any()
    return frozenset(("r2", "pearson", "spearman") if constant else ())
