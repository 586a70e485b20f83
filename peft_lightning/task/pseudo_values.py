"""Pseudo-values: the metric plus each example's influence on it, so that the metric is their mean.

Intervals and paired tests then treat a metric that is no mean over examples as they treat one that is. Values are those
of the figures that runs record, but that saved answers are probabilities in 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.task.class_figures import confusion_counts, matthews
from peft_lightning.task.influences import (
    Flags,
    Floats,
    Values,
    area_under_precision_recall,
    area_under_roc,
    determination,
    matthews_coefficient,
    mean_of_values,
    pearson_correlation,
    ratio,
    root_mean_square,
    spearman_correlation,
)
from peft_lightning.task.label_metrics import OF_ONE, words_of
from peft_lightning.task.number_figures import determined
from peft_lightning.task.rankings import label_rankings

# Half the distance of a probability in 32 bits to 1: where it was rounded to 0 or 1, its logarithm is that of this.
LEAST = 2.0**-25
# The least that is not 0, halved: what a probability that is 0 in 32 bits is taken for.
SMALLEST = float(np.finfo(np.float32).smallest_subnormal) / 2
# A few roundings of 6e-8 each.
ROUNDING = 1e-6
RANKED = ("auroc", "pr_auc")
MEANS = ("f1", *RANKED)


def pseudo_values_of_classes(
    key: str, answers: npt.NDArray[Any], targets: npt.NDArray[Any], names: Sequence[str]
) -> npt.NDArray[Any]:
    """Returns the pseudo-values of a metric of single labels.

    Args:
        key: The metric's key.
        answers: Probabilities of the classes, shape (n, classes).
        targets: The classes, shape (n,).
        names: The names of the classes.

    Returns:
        Values, shape (n,), NaN if the metric is undefined; bool if they say which answers are right.

    Raises:
        KeyError: If there is no such metric.
    """
    truth, answered = targets.astype(np.int64), answers.argmax(axis=-1)
    classes = answers.shape[1]
    if key == "f1_micro":
        return np.asarray(truth == answered)
    if key in ("log_loss", "brier"):
        rows, wide = np.arange(len(truth)), answers.astype(np.float64)
        if key == "log_loss":
            return -np.log(np.maximum(wide[rows, truth], SMALLEST))
        wide[rows, truth] -= 1
        return np.asarray((wide**2).sum(axis=1) / (2 if classes == 2 else 1))
    if key == "mcc":
        coefficient = matthews(confusion_counts(truth, answered, classes))
        return _together(matthews_coefficient(truth, answered, coefficient))
    true, chosen = (of[:, None] == np.arange(classes) for of in (truth, answered))
    if key == "balanced_acc":
        return _together(mean_of_values([_of_label("recall", true, chosen, answers, c) for c in range(classes)]))
    ranked = _ranked(answers) if key.startswith(RANKED) else answers
    return _together(_of_labels(key, true, chosen, ranked, names))


def pseudo_values_of_sets(
    key: str,
    answers: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    chosen: Flags,
    names: Sequence[str],
) -> npt.NDArray[Any]:
    """Returns the pseudo-values of a metric of texts with several labels.

    Args:
        key: The metric's key.
        answers: Probabilities of the labels, shape (n, labels).
        targets: 1 where an example has the label, else 0, shape (n, labels).
        chosen: Which labels are answered, shape (n, labels).
        names: The names of the labels.

    Returns:
        Values, shape (n,), NaN if the metric is undefined; bool if they say which answers are right.

    Raises:
        KeyError: If there is no such metric.
    """
    true, wide = targets.astype(bool), answers.astype(np.float64)
    if key == "subset_acc":
        return np.asarray((true == chosen).all(axis=1))
    if key == "hamming":
        return np.asarray((true != chosen).mean(axis=1))
    if key == "brier":
        return np.asarray(((wide - true) ** 2).mean(axis=1))
    if key == "log_loss":
        return np.asarray(-np.log(np.maximum(np.where(true, wide, 1 - wide), LEAST)).mean(axis=1))
    if key == "lrap":
        return label_rankings(wide, true)
    if key == "f1_micro":
        return _together(ratio(2 * (true & chosen).sum(axis=1), true.sum(axis=1) + chosen.sum(axis=1)), true.any())
    return _together(_of_labels(key, true, chosen, answers, names))


def pseudo_values_of_numbers(key: str, answers: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Floats:
    """Returns the pseudo-values of a metric of numbers, the mean over the numbers where a text has several.

    Args:
        key: The metric's key.
        answers: The answers, shape (n,) or (n, numbers).
        targets: The true numbers, shape (n,) or (n, numbers).

    Returns:
        Values, shape (n,), NaN if the metric is undefined.

    Raises:
        KeyError: If there is no such metric.
    """
    found, true = (values.astype(np.float64).reshape(len(values), -1).T for values in (answers, targets))
    pairs = list(zip(found, true, strict=True))
    if key == "rmse":
        several = [root_mean_square(a - b) for a, b in pairs]
    elif key == "r2":
        several = [determination(a - b, b, determined(a, b)) for a, b in pairs]
    elif key in ("pearson", "spearman"):
        of_pair = pearson_correlation if key == "pearson" else spearman_correlation
        several = [of_pair(a, b) for a, b in pairs]
    else:
        raise KeyError(key)
    return _together(mean_of_values(several), not any(math.isnan(value) for value, _ in several))


def _together(values: Values, defined: bool | np.bool_ = True) -> Floats:
    value, influence = values
    return value + influence if defined else np.full(len(influence), math.nan)


def _of_labels(key: str, true: Flags, chosen: Flags, scores: npt.NDArray[Any], names: Sequence[str]) -> Values:
    """Returns a metric of one label, such as ``f1.positive``, or its mean over the labels that have examples."""
    labels = range(true.shape[1])
    kind, dot, word = key.partition(".")
    if dot:
        words = words_of(names)
        if word not in words or kind not in OF_ONE:
            raise KeyError(key)
        return _of_label(kind, true, chosen, scores, words.index(word))
    if kind == "f1_weighted":
        return _weighted([_of_label("f1", true, chosen, scores, label) for label in labels], true)
    if kind not in MEANS:
        raise KeyError(key)
    return mean_of_values([_of_label(kind, true, chosen, scores, label) for label in labels])


def _of_label(kind: str, true: Flags, chosen: Flags, scores: npt.NDArray[Any], label: int) -> Values:
    has, gets = true[:, label], chosen[:, label]
    hit = has & gets
    if kind in RANKED:
        area = area_under_roc if kind == "auroc" else area_under_precision_recall
        return area(scores[:, label], has)
    if kind == "precision":
        # One that examples have and that is never answered has precision 0.
        return ratio(hit, gets) if gets.any() or not has.any() else (0.0, np.zeros(len(has)))
    if not has.any():
        return math.nan, np.zeros(len(has))
    if kind == "recall":
        return ratio(hit, has)
    return ratio(2 * hit, has.astype(np.int64) + gets)


def _weighted(several: list[Values], true: Flags) -> Values:
    """Returns the mean weighted by how many examples have each label; the weights depend on the examples too."""
    if not true.any():
        return math.nan, np.zeros(len(true))
    values = np.array([0.0 if math.isnan(value) else value for value, _ in several])
    value, influence = ratio(true @ values, true.sum(axis=1))
    weights = true.sum(axis=0) / true.sum()
    own = sum((weight * of for weight, (_, of) in zip(weights, several, strict=True)), np.zeros(len(true)))
    return value, influence + own


def _ranked(probabilities: npt.NDArray[Any]) -> Floats:
    """Returns numbers that rank the examples by the odds of each class against all others, shape (n, classes).

    Small probabilities keep their precision in 32 bits and those near 1 do not, so the others are summed. Log-odds that
    are apart by no more than the rounding are a tie, as they are among the logits.
    """
    wide = np.maximum(probabilities.astype(np.float64), SMALLEST)
    odds = np.log(wide) - np.log(wide @ (1 - np.eye(wide.shape[1])))
    ranked = np.empty_like(odds)
    for column, order in enumerate(np.argsort(odds, axis=0).T):
        steps = np.diff(odds[order, column], prepend=odds[order[0], column]) > ROUNDING
        ranked[order, column] = np.cumsum(steps)
    return ranked
