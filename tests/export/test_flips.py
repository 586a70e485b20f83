from __future__ import annotations

import numpy as np
import pytest

from peft_lightning.export.flips import IN_FULL, IN_HALF, Comparison, compare, tolerance_of, wilson
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import SingleLabel
from tests.task.toy import ToyRegression


def of_two_classes(*of_first: float) -> Answers:
    probabilities = np.array([[first, 1 - first] for first in of_first])
    return Answers(np.arange(len(of_first)), np.zeros(len(of_first), np.int64), probabilities, SingleLabel(("a", "b")))


def beside(reference: Answers, *of_first: float, tolerance: float = IN_FULL) -> Comparison:
    return compare(reference, of_two_classes(*of_first).answers, tolerance)


def test_equal_answers_are_proved() -> None:
    found = beside(of_two_classes(0.9, 0.2), 0.9, 0.2)
    assert (found.examples, found.flips, found.greatest_change) == (2, 0, 0)
    assert found.before == found.after == 0.5
    assert found.failure(0, lossless=True) is None


def test_a_flip_fails_unless_it_is_allowed() -> None:
    found = beside(of_two_classes(0.9, 0.6), 0.9, 0.4)
    assert (found.flips, found.near_ties, found.after) == (1, 0, 0.5)
    assert "1 of 2 answers" in str(found.failure(0, lossless=True))
    assert found.failure(1, lossless=True) is None


def test_a_near_tie_is_shown_and_not_counted() -> None:
    found = beside(of_two_classes(0.9, 0.5002), 0.9, 0.4998)
    assert (found.flips, found.near_ties, found.counted) == (1, 1, 0)
    assert found.failure(0, lossless=True) is None
    assert beside(of_two_classes(0.9, 0.503), 0.9, 0.497).counted == 1


def test_a_form_without_loss_may_not_move_a_number_even_where_nothing_flips() -> None:
    found = beside(of_two_classes(0.9, 0.2), 0.9, 0.203)
    assert found.flips == 0
    assert "0.003 off" in str(found.failure(0, lossless=True))
    assert found.failure(0, lossless=False) is None


def test_what_is_no_number_fails() -> None:
    found = beside(of_two_classes(0.9, 0.2), 0.9, float("nan"))
    assert "no number" in str(found.failure(9, lossless=False))


@pytest.mark.parametrize(
    ("precision", "bits", "tolerance"),
    [
        ("32-true", None, IN_FULL),
        ("64-true", "nf4", IN_FULL),
        ("bf16-mixed", None, IN_HALF),
        ("32-true", "int8", IN_HALF),
    ],
)
def test_the_tolerance_is_that_of_the_runs_own_rounding(precision: str, bits: str | None, tolerance: float) -> None:
    assert tolerance_of(precision, bits) == tolerance


def test_measurements_are_compared_in_their_own_unit() -> None:
    values = np.array([0.0, 100.0, 200.0])
    reference = Answers(np.arange(3), values, values, ToyRegression())
    kept = compare(reference, values + 0.05, IN_FULL)
    assert kept.flips == 0
    assert kept.failure(0, lossless=True) is None
    assert kept.after == pytest.approx(0.05)
    assert compare(reference, values + 1, IN_FULL).failure(0, lossless=True) is not None
    assert compare(reference, values + np.array([0, 0, 20]), IN_FULL).flips == 1


def test_wilsons_interval_of_no_flips_is_no_point() -> None:
    low, high = wilson(0, 500)
    assert low == 0
    assert high == pytest.approx(0.0076, abs=1e-4)
