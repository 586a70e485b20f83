import itertools

import numpy as np
import pytest

from peft_lightning.compare.statistics.components import Components
from peft_lightning.compare.statistics.variances import (
    variance_of_contrasts,
    variance_of_difference_with,
    variance_of_differences,
    variance_of_means,
)
from tests.compare.statistics.simulated import answers


def test_variance_of_a_difference_counts_nothing_twice() -> None:
    """With the seeds' variances pooled by equal weights, it is the sum that the mixed model has."""
    correct = answers(methods=2, seeds=4, reviews=4000)
    a, b = (right.astype(float) for right in correct.values())
    d = a.mean(axis=0) - b.mean(axis=0)
    components = Components.of(correct)
    variance = variance_of_differences(components, np.array([0]), np.array([1]))
    # The imagined reviews of Bonett and Price make the test sample's part a little larger.
    assert variance.reviews[0] == pytest.approx(d.var(ddof=1) / 4000, rel=0.01)
    assert variance.seeds[0] == pytest.approx(components.seed.sum() / 4)
    assert variance.total[0] < d.var(ddof=1) / 4000 + a.mean(axis=1).var(ddof=1) / 4 + b.mean(axis=1).var(ddof=1) / 4


def test_nothing_is_borrowed_where_no_method_has_two_seeds() -> None:
    components = Components.of({name: right[:1] for name, right in answers().items()})
    variance = variance_of_means(components)
    assert not components.seeds_measured
    assert variance.seeds.tolist() == [0, 0, 0]
    assert variance.df == pytest.approx(49)


def test_a_plan_of_the_same_size_changes_nothing() -> None:
    components = Components.of(answers())
    same = components.expected_with(reviews=50, seeds=4)
    for first, second in itertools.combinations(range(3), 2):
        before = variance_of_differences(components, np.array([first]), np.array([second]))
        after = variance_of_differences(same, np.array([first]), np.array([second]))
        assert after.total == pytest.approx(before.total)
        assert after.df == pytest.approx(before.df)


def test_reviews_and_seeds_each_shrink_their_own_part() -> None:
    components = Components.of(answers(seeds=4, reviews=4000))
    pair = np.array([0]), np.array([1])
    now = variance_of_differences(components, *pair)
    reviews = variance_of_differences(components.expected_with(reviews=40_000), *pair)
    assert reviews.reviews[0] == pytest.approx(now.reviews[0] / 10, rel=0.02)
    assert reviews.seeds[0] == pytest.approx(now.seeds[0])
    seeds = variance_of_differences(components.expected_with(seeds=40), *pair)
    assert seeds.seeds[0] == pytest.approx(now.seeds[0] / 10)
    # More seeds average the residuals, and leave what reviews mean to a method.
    assert now.reviews[0] / 10 < seeds.reviews[0] < now.reviews[0]


@pytest.mark.parametrize("seeds", [1, 2, 4])
@pytest.mark.parametrize("binary", [True, False])
def test_one_difference_in_a_larger_experiment_is_to_the_bit_that_among_all(seeds: int, binary: bool) -> None:
    rng = np.random.default_rng([seeds, binary])
    scores = {
        str(method): rng.random((seeds + method % 2, 90)) < 0.8 if binary else rng.normal(size=(seeds + method % 2, 90))
        for method in range(9)
    }
    components = Components.of(scores)
    for larger in ({}, {"reviews": 12_345}, {"seeds": 17}):
        for first, second in ((0, 1), (7, 3), (8, 0)):
            alone = variance_of_difference_with(components, first, second, **larger)
            among = variance_of_differences(components.expected_with(**larger), np.array([first]), np.array([second]))
            for part in ("reviews", "seeds", "df"):
                assert getattr(alone, part).tobytes() == getattr(among, part).tobytes()


def test_the_variance_of_a_contrast_of_two_is_that_of_their_difference() -> None:
    for scores in ({"a": 0.9, "b": 0.8, "c": 0.7}, None):
        rng = np.random.default_rng(3)
        arrays = {
            name: (rng.random((3, 90)) < (scores[name] if scores else 0.5)) if scores else rng.normal(size=(3, 90))
            for name in "abc"
        }
        components = Components.of(arrays)
        expected = variance_of_differences(components, np.array([0, 1]), np.array([2, 2]))
        contrasts = np.array([[1.0, 0, -1], [0, 1, -1]])
        found = variance_of_contrasts(components, contrasts, components.moderated())
        for part in ("reviews", "seeds", "df"):
            np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-12)
