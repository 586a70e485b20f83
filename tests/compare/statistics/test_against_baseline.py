import numpy as np
import pytest

from peft_lightning.compare.statistics import Statistics, against, compare_methods
from peft_lightning.compare.statistics.family import holm
from tests.compare.statistics.simulated import Latent


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    answers = Latent(np.random.default_rng(1), 1, 4, 3, 1000).answers([0.8, 0.9, 0.9, 0.85], [0.003] * 4).correct[0]
    return compare_methods(dict(zip(("ia3", "lora", "vera", "head"), answers, strict=True)), plan=False)


def test_every_difference_is_from_the_baseline_to_the_other_whatever_their_order(statistics: Statistics) -> None:
    means = {method.method: method.mean for method in statistics.methods}
    compared = against(statistics, "lora")
    assert {(pair.first, pair.second) for pair in compared} == {("ia3", "lora"), ("vera", "lora"), ("head", "lora")}
    for pair in compared:
        assert pair.difference == pytest.approx(means[pair.first] - means["lora"])
        assert pair.interval.low <= pair.difference <= pair.interval.high
    differences = [pair.difference for pair in compared]
    assert differences == sorted(differences, reverse=True)


def test_only_the_comparisons_with_the_baseline_are_corrected_for(statistics: Statistics) -> None:
    compared = against(statistics, "lora")
    corrected = holm(np.array([pair.p_value for pair in compared]))
    assert [pair.corrected_p_value for pair in compared] == pytest.approx(corrected)
    assert [pair.told_apart for pair in compared] == [p_value <= 0.05 for p_value in corrected]
    assert {pair.first for pair in compared if pair.told_apart} == {"ia3", "head"}


def test_a_baseline_that_was_not_tested_is_refused(statistics: Statistics) -> None:
    with pytest.raises(ValueError, match="dora was not tested beside others"):
        against(statistics, "dora")
