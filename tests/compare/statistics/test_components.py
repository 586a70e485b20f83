import numpy as np
import pytest

from peft_lightning.compare.statistics.components import Components
from tests.compare.statistics.simulated import answers


def test_components_are_those_of_the_analysis_of_variance() -> None:
    """By the textbook's sums of squares, residual by residual."""
    correct = answers()
    components = Components.of(correct)
    for number, right in enumerate(correct.values()):
        seeds, reviews = right.shape
        y = right.astype(float)
        residuals = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
        residual = (residuals**2).sum() / (seeds - 1) / (reviews - 1)
        between = reviews * y.mean(axis=1).var(ddof=1)
        assert components.mean[number] == pytest.approx(y.mean())
        assert components.residual[number] == pytest.approx(residual)
        assert components.seed[number] == pytest.approx((between - residual) / reviews)


def test_own_seeds_weigh_as_much_as_all_together() -> None:
    weights = Components.of(answers(methods=4)).moderated()
    assert weights == pytest.approx(np.full((4, 4), 1 / 8) + np.eye(4) / 2)


def test_a_method_with_one_seed_borrows_from_those_with_more() -> None:
    correct = answers(methods=3)
    correct["a"] = correct["a"][:1]
    weights = Components.of(correct).moderated()
    assert weights[0] == pytest.approx([0, 0.5, 0.5])
    assert weights.sum(axis=1) == pytest.approx(1)
