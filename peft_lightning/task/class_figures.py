"""Figures of one evaluation of classes, computed in 64 bits from all its examples; NaN where they are undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.label_metrics import keys_of_labels
from peft_lightning.task.rankings import average_precision, mean_of_defined

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
# Bins of equal width, as in Guo et al. 2017 (arXiv:1706.04599).
BINS = 15


def class_figures(
    logits: Floats, answers: npt.NDArray[Any], targets: npt.NDArray[Any], names: Sequence[str]
) -> dict[str, float]:
    """Computes the further figures of an evaluation of single labels.

    Args:
        logits: The model's outputs, shape (n, classes).
        answers: Probabilities of the classes, shape (n, classes); the predicted class is the most probable.
        targets: The classes, shape (n,).
        names: The names of the classes.

    Returns:
        Figures by their keys.
    """
    import torch

    from peft_lightning.task.class_metrics import log_odds

    classes, rows = logits.shape[1], np.arange(len(targets))
    truth = targets.astype(np.int64)
    matrix = confusion_counts(truth, answers.argmax(axis=-1), classes)
    hits, support, named = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall, f1 = precision_recall_f1(hits, support, named)
    odds = log_odds(torch.from_numpy(logits)).numpy()
    areas = [average_precision(odds[:, number], truth == number) for number in range(classes)]
    log_probabilities = log_softmax(logits)
    probabilities = np.exp(log_probabilities)
    errors = probabilities.copy()
    errors[rows, truth] -= 1
    squares = (errors**2).sum(axis=1)
    confidence = probabilities.max(axis=1)
    return {
        "balanced_acc": mean_of_defined(recall),
        "f1_micro": float(hits.sum() / len(truth)),
        "f1_weighted": float(np.nansum(f1 * support) / support.sum()),
        "mcc": matthews(matrix),
        "pr_auc": mean_of_defined(areas),
        "log_loss": float(-log_probabilities[rows, truth].mean()),
        # As scikit-learn has it: of two classes, the squared error of one probability.
        "brier": float(squares.mean() / (2 if classes == 2 else 1)),
        "ece": calibration_error(confidence, probabilities.argmax(axis=1) == truth),
        **keys_of_labels(names, {"precision": precision, "recall": recall, "f1": f1, "pr_auc": areas}),
    }


def confusion_counts(truth: Counts, predicted: Counts, classes: int) -> Counts:
    """Counts examples by their class and the predicted one, shape (classes, classes).

    Args:
        truth: Classes, shape (n,).
        predicted: Predicted classes, shape (n,).
        classes: Number of classes.
    """
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def precision_recall_f1(hits: Counts, support: Counts, named: Counts) -> tuple[Floats, Floats, Floats]:
    """Computes precision, recall and F1 of each class or label.

    Of one that no example has, recall and F1 are undefined, and precision too if it is never answered. One that
    examples have and that is never answered has precision 0, as in scikit-learn.

    Args:
        hits: Number of examples that have it and get it.
        support: Number of examples that have it.
        named: Number of examples that get it.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(named > 0, hits / named, np.where(support > 0, 0.0, np.nan))
        recall = np.where(support > 0, hits / support, np.nan)
        f1 = np.where(support > 0, 2 * hits / (support + named), np.nan)
    return precision, recall, f1


def matthews(matrix: Counts) -> float:
    """Computes Matthews' correlation coefficient (Gorodkin 2004 for several classes).

    Args:
        matrix: Confusion counts, rows are true classes.

    Returns:
        The coefficient, 0 if all answers are the same; NaN if all examples are of one class.
    """
    counts = matrix.astype(np.float64)
    true, answered, n = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    of_truth, of_answers = n**2 - true @ true, n**2 - answered @ answered
    if of_truth == 0:
        return math.nan
    if of_answers == 0:
        return 0.0
    return float((np.trace(counts) * n - true @ answered) / math.sqrt(of_truth) / math.sqrt(of_answers))


def calibration_error(confidence: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Computes the expected calibration error: how far confidence and accuracy are apart, on average over 15 bins.

    Args:
        confidence: Probability of each answer, shape (n,).
        right: Whether it is right, shape (n,).
    """
    places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(places, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def log_softmax(logits: Floats) -> Floats:
    """Computes the logarithms of probabilities.

    Args:
        logits: Shape (n, classes).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
