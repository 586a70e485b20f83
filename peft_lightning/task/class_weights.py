"""Weights of classes in the training loss: given, or balanced by how often each class occurs.

The weights are scaled so that their mean over the training rows is 1, and the weighted loss of a batch is divided by
its number of rows, not by the sum of its weights. So it stays a mean over examples: micro-batches, accumulated batches
and the shares of several processes add up to the undivided batch, and the learning rate keeps its meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task.label_values import listed

ClassWeights = Literal["balanced"] | list[float] | dict[str, float]

_READ_SO = {"true": ("true", "yes", "on", "y"), "false": ("false", "no", "off", "n")}
_SETTING = Setting("model.class_weights")
Floats = npt.NDArray[np.float64]


def weights_of_classes(asked: ClassWeights, counts: npt.NDArray[np.int64], names: Sequence[str]) -> tuple[float, ...]:
    """Returns what each class counts in the training loss, 1 on average over the training rows.

    Args:
        asked: What the user asks for.
        counts: Number of training rows of each class.
        names: The names of the classes.

    Raises:
        UserError: As for ``stated_weights``.
    """
    weights = balanced_weights(counts) if asked == "balanced" else stated_weights(asked, names)
    return tuple(scaled_weights(weights, counts).tolist())


def weights_of_labels(
    asked: ClassWeights, shares: Floats, names: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns what a text counts in the training loss of each label that it has, and of each that it lacks.

    A weight is what a text counts that has the label, where one that lacks it counts 1; both are then scaled so that
    the mean over the training rows is 1. ``balanced`` makes both sides count the same.

    Args:
        asked: What the user asks for.
        shares: Share of the training rows that have each label.
        names: The names of the labels.

    Raises:
        UserError: As for ``stated_weights``.
    """
    told_apart = (shares > 0) & (shares < 1)
    if asked == "balanced":
        of_those = np.where(told_apart, (1 - shares) / np.where(told_apart, shares, 1.0), 1.0)
    else:
        of_those = stated_weights(asked, names)
    mean = shares * of_those + 1 - shares
    return tuple((of_those / mean).tolist()), tuple((1 / mean).tolist())


def stated_weights(given: list[float] | dict[str, float], names: Sequence[str]) -> Floats:
    """Puts the weights that a user states in the order of the classes.

    Args:
        given: A weight for each class, in the order of their numbers, or by name; a class that is not named has 1.
        names: The names of the classes.

    Raises:
        UserError: If the weights are not those of the classes, or one is not above 0.
    """
    if isinstance(given, dict):
        given = {_as_named(name, names): weight for name, weight in given.items()}
        unknown = next((name for name in given if name not in names), None)
        if unknown is not None:
            raise UserError(
                f"class_weights names {unknown!r}, and the classes are {listed(names)}: mend the name in ", _SETTING
            )
        weights = [float(given.get(name, 1.0)) for name in names]
    else:
        weights = [float(weight) for weight in given]
        if len(weights) != len(names):
            raise UserError(
                f"class_weights has {len(weights)} weights and the data {len(names)} classes ({listed(names)}): give"
                " one for each, or names and weights, with ",
                _SETTING,
            )
    wrong = next((weight for weight in weights if not (math.isfinite(weight) and weight > 0)), None)
    if wrong is not None:
        raise UserError(f"class_weights has {wrong:g}: a weight is a number above 0, in ", _SETTING)
    return np.array(weights)


def balanced_weights(counts: npt.NDArray[np.int64]) -> Floats:
    """Computes weights inversely proportional to frequencies, as scikit-learn's ``class_weight="balanced"``.

    Args:
        counts: Number of training rows of each class; one without rows gets the weight 1.
    """
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def scaled_weights(weights: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """Scales weights so that their mean over the training rows is 1.

    Args:
        weights: Weight of each class.
        counts: Number of training rows of each class.
    """
    mean = float(weights @ counts) / float(counts.sum())
    return weights / mean


def _as_named(name: object, names: Sequence[str]) -> str:
    """Returns the name of a class that YAML has read as a number, or as a truth value: yes, no, on and off."""
    word = str(name).lower() if isinstance(name, bool) else str(name)
    # A run's own configuration holds them as words.
    if word in names or word not in _READ_SO:
        return word
    return next((known for known in names if known.lower() in _READ_SO[word]), word)
