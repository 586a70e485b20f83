import itertools

import numpy as np
import pytest

from peft_lightning.compare.statistics.components import Components


def answers(methods: int = 3, seeds: int = 4, reviews: int = 50) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ease = rng.standard_normal((methods + 1, reviews))
    return {
        name: ease[-1] + own + rng.standard_normal((seeds, reviews)) + rng.standard_normal((seeds, 1)) > -1
        for name, own in zip("abcdef", ease[:methods], strict=False)
    }


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


def test_variance_of_a_difference_counts_nothing_twice() -> None:
    """With the seeds' variances pooled by equal weights, it is the sum that the mixed model has."""
    correct = answers(methods=2, seeds=4, reviews=4000)
    a, b = (right.astype(float) for right in correct.values())
    d = a.mean(axis=0) - b.mean(axis=0)
    components = Components.of(correct)
    variance = components.of_differences(np.array([0]), np.array([1]))
    # The imagined reviews of Bonett and Price make the test sample's part a little larger.
    assert variance.reviews[0] == pytest.approx(d.var(ddof=1) / 4000, rel=0.01)
    assert variance.seeds[0] == pytest.approx(components.seed.sum() / 4)
    assert variance.total[0] < d.var(ddof=1) / 4000 + a.mean(axis=1).var(ddof=1) / 4 + b.mean(axis=1).var(ddof=1) / 4


def test_own_seeds_weigh_as_much_as_all_together() -> None:
    weights = Components.of(answers(methods=4)).moderated()
    assert weights == pytest.approx(np.full((4, 4), 1 / 8) + np.eye(4) / 2)


def test_a_method_with_one_seed_borrows_from_those_with_more() -> None:
    correct = answers(methods=3)
    correct["a"] = correct["a"][:1]
    weights = Components.of(correct).moderated()
    assert weights[0] == pytest.approx([0, 0.5, 0.5])
    assert weights.sum(axis=1) == pytest.approx(1)


def test_nothing_is_borrowed_where_no_method_has_two_seeds() -> None:
    components = Components.of({name: right[:1] for name, right in answers().items()})
    variance = components.of_means()
    assert not components.seeds_measured
    assert variance.seeds.tolist() == [0, 0, 0]
    assert variance.df == pytest.approx(49)


def test_a_plan_of_the_same_size_changes_nothing() -> None:
    components = Components.of(answers())
    same = components.expected_with(reviews=50, seeds=4)
    for first, second in itertools.combinations(range(3), 2):
        before = components.of_differences(np.array([first]), np.array([second]))
        after = same.of_differences(np.array([first]), np.array([second]))
        assert after.total == pytest.approx(before.total)
        assert after.df == pytest.approx(before.df)


def test_reviews_and_seeds_each_shrink_their_own_part() -> None:
    components = Components.of(answers(seeds=4, reviews=4000))
    pair = np.array([0]), np.array([1])
    now = components.of_differences(*pair)
    reviews = components.expected_with(reviews=40_000).of_differences(*pair)
    assert reviews.reviews[0] == pytest.approx(now.reviews[0] / 10, rel=0.02)
    assert reviews.seeds[0] == pytest.approx(now.seeds[0])
    seeds = components.expected_with(seeds=40).of_differences(*pair)
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
            alone = components.of_difference_with(first, second, **larger)
            among = components.expected_with(**larger).of_differences(np.array([first]), np.array([second]))
            for part in ("reviews", "seeds", "df"):
                assert getattr(alone, part).tobytes() == getattr(among, part).tobytes()
