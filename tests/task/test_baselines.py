"""What a model reaches that has learned nothing, and by how much a model must be better."""

import math

import numpy as np
import pytest

from peft_lightning.task import MultiLabel, Regression, SingleLabel


def test_the_baseline_is_the_most_frequent_class() -> None:
    baseline = SingleLabel(("bad", "good")).baseline(np.array([0, 0, 0, 1]))
    assert baseline.value == 0.75
    assert baseline.margin == pytest.approx(2 * math.sqrt(0.75 * 0.25 / 4))


def test_the_baseline_is_the_best_of_the_same_labels_for_all() -> None:
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.int8)
    # Always the first label: 1, 1, 2/3 and 0.
    assert MultiLabel(("a", "b")).baseline(targets).value == pytest.approx((1 + 1 + 2 / 3) / 4)


def test_the_baseline_is_the_error_of_the_median() -> None:
    baseline = Regression().baseline(np.array([1, 1, 1, 5], np.float32))
    # Errors of 0, 0, 0 and 4, whose standard deviation is the root of 3.
    assert baseline.value == 1
    assert baseline.margin == pytest.approx(2 * math.sqrt(3) / 2)
