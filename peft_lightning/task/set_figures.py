"""Figures of one evaluation of texts with several labels, computed in 64 bits from all its examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.class_figures import calibration_error, precision_recall_f1
from peft_lightning.task.label_metrics import keys_of_labels
from peft_lightning.task.rankings import average_precision, label_ranking, mean_of_defined, roc_auc

Floats = npt.NDArray[np.float64]


def set_figures(
    logits: Floats,
    targets: npt.NDArray[Any],
    chosen: npt.NDArray[np.bool_],
    scores: npt.NDArray[Any],
    names: Sequence[str],
) -> dict[str, float]:
    """Computes the figures of an evaluation; means over labels leave out labels that no example has.

    Args:
        logits: The model's outputs, shape (n, labels).
        targets: 1 where an example has the label, else 0, shape (n, labels).
        chosen: Which labels are answered, shape (n, labels).
        scores: The score of each example, shape (n,).
        names: The labels' names.

    Returns:
        Figures by their keys, NaN for an undefined one.
    """
    true = targets.astype(bool)
    hits, support, named = ((flags).sum(axis=0) for flags in (true & chosen, true, chosen))
    precision, recall, f1 = precision_recall_f1(hits, support, named)
    labels = range(true.shape[1])
    areas = [average_precision(logits[:, number], true[:, number]) for number in labels]
    # log(1 + exp(±logit)), which never overflows.
    losses = np.logaddexp(0.0, np.where(true, -logits, logits))
    probabilities = np.exp(-np.logaddexp(0.0, -logits))
    confidence = np.maximum(probabilities, 1 - probabilities)
    return {
        "f1_samples": float(scores.mean()),
        "subset_acc": float((true == chosen).all(axis=1).mean()),
        "f1": mean_of_defined(f1),
        "f1_micro": float(2 * hits.sum() / (support.sum() + named.sum())) if support.any() else math.nan,
        "f1_weighted": float(np.nansum(f1 * support) / support.sum()) if support.any() else math.nan,
        "hamming": float((true != chosen).mean()),
        "lrap": label_ranking(logits, true),
        "auroc": mean_of_defined([roc_auc(logits[:, number], true[:, number]) for number in labels]),
        "pr_auc": mean_of_defined(areas),
        "log_loss": float(losses.mean()),
        "brier": float(((probabilities - true) ** 2).mean()),
        "ece": calibration_error(confidence.ravel(), ((probabilities > 0.5) == true).ravel()),
        **keys_of_labels(names, {"precision": precision, "recall": recall, "f1": f1, "pr_auc": areas}),
    }
