"""Where recipes differ whose answers are not just right or wrong, by value."""

import numpy as np
import pytest

from peft_lightning.compare.report.graded_disagreements import find_graded_disagreements, surest_gap
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import MultiLabel, Regression

LABELS = np.array([1.0, 2.0, 3.0, 4.0], np.float32)


def answers(*values: float) -> Answers:
    return Answers(np.array([10, 20, 30, 40]), LABELS, np.array(values, np.float32), Regression())


def test_the_widest_gap_that_all_seeds_agree_on_comes_first() -> None:
    found = find_graded_disagreements(
        {
            # Errors by seed: 0 and 0.5 against 1 and 1; 0 and 2 against 1 and 1; 0 and 0 against 3 and 4; none.
            "a": [answers(1, 2, 3, 4), answers(1.5, 4, 3, 4)],
            "b": [answers(2, 3, 0, 4), answers(0, 3, 7, 4)],
        }
    )
    assert found is not None
    assert found.reviews == 4
    assert found.clear == 2
    assert [review.id for review in found.shown] == [30, 10]
    assert found.shown[0].label == 3.0
    assert found.shown[0].scores == {"a": 0.0, "b": -3.5}
    assert found.shown[0].answers == {"a": [3.0, 3.0], "b": [0.0, 7.0]}
    widths = [0.75, 0.0, 3.5, 0.0]
    assert found.middle == pytest.approx(np.median(widths))
    assert found.large == pytest.approx(np.quantile(widths, 0.95))


def test_seeds_that_overlap_leave_no_gap() -> None:
    gap = surest_gap([np.array([[0.0, 1.0], [0.5, 1.0]]), np.array([[0.2, 0.0], [0.9, 0.25]])])
    assert gap.tolist() == pytest.approx([-0.3, 0.75])


def test_labels_are_compared_by_the_score_of_each_text() -> None:
    task, ids = MultiLabel(("x", "y")), np.array([1, 2])
    targets = np.array([[1, 1], [1, 0]], np.int8)
    half, whole = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[0.9, 0.9], [0.9, 0.1]])
    found = find_graded_disagreements(
        {"half": [Answers(ids, targets, half, task)], "whole": [Answers(ids, targets, whole, task)]}
    )
    assert found is not None
    (review,) = found.shown
    assert (review.id, review.label) == (1, [1, 1])
    assert review.scores == pytest.approx({"half": 2 / 3, "whole": 1.0})


def test_one_recipe_does_not_differ() -> None:
    assert find_graded_disagreements({"a": [answers(1, 2, 3, 4)]}) is None
