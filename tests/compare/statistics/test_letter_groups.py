import itertools
import time

import numpy as np
import pytest

from peft_lightning.compare.statistics.letter_groups import letter, letter_groups, letters


def shared(names: str, different: set[tuple[str, str]]) -> None:
    """Two methods share a letter if and only if they are not told apart, and no letter is for nothing."""
    groups = letter_groups(names, different)
    of = letters(names, groups)
    for pair in itertools.combinations(names, 2):
        assert bool(set(of[pair[0]]) & set(of[pair[1]])) is (pair not in different)
    assert all(of.values())
    for group in groups:
        fewer = [other for other in groups if other != group]
        covered = {pair for other in fewer for pair in itertools.product(other, repeat=2)}
        assert not set(itertools.product(group, repeat=2)) <= covered


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_possible_set_of_verdicts_is_shown_by_letters(count: int) -> None:
    names = "abcde"[:count]
    pairs = list(itertools.combinations(names, 2))
    for chosen in itertools.product((False, True), repeat=len(pairs)):
        shared(names, {pair for pair, differs in zip(pairs, chosen, strict=True) if differs})


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_random_verdicts_of_ten_methods_are_shown_by_letters(share: float) -> None:
    rng = np.random.default_rng(int(10 * share))
    pairs = list(itertools.combinations("abcdefghij", 2))
    for _ in range(40):
        shared("abcdefghij", {pair for pair in pairs if rng.uniform() < share})


def test_the_best_method_has_the_first_letter_and_a_chain_its_neighbours() -> None:
    groups = letter_groups(["vera", "lora", "ia3"], [("ia3", "vera")])
    assert groups == (("vera", "lora"), ("lora", "ia3"))
    assert letters(["vera", "lora", "ia3"], groups) == {"vera": "a", "lora": "ab", "ia3": "b"}


def test_more_groups_than_letters_can_still_be_strung_together() -> None:
    assert [letter(number) for number in (0, 25, 26, 52)] == ["a", "z", "a1", "a2"]


def test_a_hundred_methods_take_no_time() -> None:
    scores = np.random.default_rng(1).uniform(0.85, 0.92, 100)
    names = [str(number) for number in np.argsort(-scores)]
    noise = np.random.default_rng(2)
    different = [
        (first, second)
        for first, second in itertools.combinations(names, 2)
        if abs(scores[int(first)] - scores[int(second)]) > noise.uniform(0.008, 0.012)
    ]
    begun = time.process_time()
    groups = letter_groups(names, different)
    assert time.process_time() - begun < 2
    of = {name: {number for number, group in enumerate(groups) if name in group} for name in names}
    assert all(not of[first] & of[second] for first, second in different)
