import pytest

from peft_lightning.compare.statistics import (
    Difference,
    Interval,
    MethodScore,
    Statistics,
    verdict,
    verdict_in_short,
)
from peft_lightning.task import FIRST


def method(name: str, seeds: int = 3) -> MethodScore:
    interval = Interval(0.87, 0.9)
    return MethodScore(name, seeds, 0.885, interval, interval, interval if seeds > 1 else None, None)


def pair(
    first: str,
    second: str,
    difference: float,
    interval: tuple[float, float],
    told_apart: bool = False,
    reviews: int | None = None,
    seeds: int | None = None,
) -> Difference:
    p_value = 0.01 if told_apart else 0.5
    return Difference(
        first, second, difference, 0.005, 20.0, Interval(*interval), p_value, p_value, told_apart, reviews, seeds
    )


def said(*pairs: Difference, seeds: dict[str, int] | None = None) -> tuple[str, ...]:
    return verdict(compared(*pairs, seeds=seeds), FIRST.headline)


def compared(*pairs: Difference, seeds: dict[str, int] | None = None) -> Statistics:
    names = dict.fromkeys(name for each in pairs for name in (each.first, each.second))
    counts = dict.fromkeys(names, 3) | (seeds or {})
    measured = max(counts.values()) > 1
    return Statistics(2000, measured, tuple(method(name, counts[name]) for name in names), pairs)


def test_a_real_difference() -> None:
    assert said(pair("LoRA", "IA3", 0.019, (0.008, 0.030), told_apart=True)) == (
        "LoRA is 1.9 points better than IA3 (0.8 to 3.0).",
    )


def test_the_better_one_comes_first() -> None:
    assert said(pair("IA3", "LoRA", -0.019, (-0.030, -0.008), told_apart=True)) == (
        "LoRA is 1.9 points better than IA3 (0.8 to 3.0).",
    )


def test_a_small_real_difference_is_not_called_0() -> None:
    assert said(pair("a", "b", 0.0004, (0.0001, 0.0007), told_apart=True)) == (
        "a is 0.04 points better than b (0.01 to 0.07).",
    )


@pytest.mark.parametrize(
    ("reviews", "seeds", "plan"),
    [
        (
            11_802,
            9,
            "about 12,000 reviews with the same seeds, or about 9 seeds on the same reviews, would tell them apart four"
            " times in five.",
        ),
        (11_802, None, "about 12,000 reviews with the same seeds would tell them apart four times in five."),
        (
            None,
            101,
            "about 110 seeds on the same reviews would tell them apart four times in five; more reviews alone would"
            " not: seeds spread too much.",
        ),
        (None, None, "it would take more reviews and more seeds to tell them apart: neither alone is enough."),
    ],
)
def test_what_would_tell_them_apart(reviews: int | None, seeds: int | None, plan: str) -> None:
    assert said(pair("QLoRA", "LoRA", -0.003, (-0.015, 0.009), reviews=reviews, seeds=seeds)) == (
        "LoRA and QLoRA are not told apart by 2,000 reviews and 3 seeds: LoRA measured 0.3 points better (−0.9 to 1.5)."
        f" Were that the true difference, {plan}",
    )


def test_no_plan_for_no_difference() -> None:
    assert said(pair("a", "b", 0.0, (-0.01, 0.01))) == (
        "a and b are not told apart by 2,000 reviews and 3 seeds: they measured the same (−1.0 to 1.0).",
    )


def test_one_seed_is_said_first_and_promises_nothing_of_seeds() -> None:
    sentences = said(pair("a", "b", 0.001, (-0.01, 0.012), reviews=None), seeds={"a": 1, "b": 1})
    assert sentences[0] == (
        "Every method was trained with one seed, so the spread over seeds was not measured: the intervals and tests are"
        " for these trained models, not for the methods."
    )
    assert "by 2,000 reviews and 1 seed: a measured 0.1 points better (−1.0 to 1.2)." in sentences[1]
    assert "more seeds" not in sentences[1]


def test_unequal_seeds_are_named_with_their_methods() -> None:
    sentences = said(pair("a", "b", -0.01, (-0.03, 0.01)), seeds={"a": 1, "b": 3})
    assert sentences[0] == "a was trained with one seed: its spread over seeds is taken from the other methods."
    assert sentences[1].startswith("b and a are not told apart by 2,000 reviews and 3 and 1 seed: b measured")


def test_several_pairs_are_counted_and_sorted() -> None:
    sentences = said(
        pair("a", "b", 0.001, (-0.01, 0.012)),
        pair("a", "c", 0.02, (0.01, 0.03), told_apart=True),
        pair("b", "c", 0.03, (0.02, 0.04), told_apart=True),
    )
    assert sentences[0].startswith("Of 3 pairs 2 differ beyond chance (5 % for all pairs together)")
    assert sentences[1].startswith("b is 3.0 points better than c")
    assert sentences[2].startswith("a is 2.0 points better than c")
    assert sentences[3].startswith("a and b are not told apart")


def test_no_real_difference_is_said() -> None:
    pairs = [pair(names[0], names[1], 0.001, (-0.01, 0.012)) for names in ("ab", "ac", "bc")]
    assert said(*pairs)[0].startswith("Of 3 pairs none differ beyond chance")


@pytest.mark.parametrize(
    ("share", "signed", "said"),
    [
        (-0.013, True, "−1.3"),
        (0.013, True, "+1.3"),
        (0.0004, True, "+0.04"),
        (0.0004, False, "0.04"),
        (-0.00096, True, "−0.1"),
        (0.0, True, "0.0"),
        (-0.00001, True, "0.0"),
    ],
)
def test_no_difference_that_can_be_told_reads_as_0(share: float, signed: bool, said: str) -> None:
    assert FIRST.headline.difference(share, signed) == said


def test_pairs_none_of_which_is_told_apart_are_one_sentence() -> None:
    pairs = [
        pair("a", "b", 0.001, (-0.01, 0.012), reviews=200_000),
        pair("a", "c", -0.004, (-0.012, 0.004), reviews=11_802, seeds=9),
        pair("b", "c", -0.003, (-0.012, 0.006), reviews=20_000),
    ]
    assert verdict_in_short(compared(*pairs), FIRST.headline) == (
        "None of the 3 pairs is told apart by 2,000 reviews and 3 seeds; the largest difference is 0.4 points, c over a"
        " (−0.4 to 1.2, the 95 % interval of this pair alone). Were that the true difference, about 12,000 reviews with"
        " the same seeds, or about 9 seeds on the same reviews, would tell them apart four times in five.",
    )
    one_seed = verdict_in_short(compared(*pairs, seeds={"a": 1}), FIRST.headline)
    assert one_seed[0].startswith("a was trained with one seed")
    assert "2,000 reviews and 1 to 3 seeds" in one_seed[1]


def test_the_verdict_in_short_leaves_nothing_out_where_a_pair_is_told_apart() -> None:
    pairs = (pair("a", "b", 0.001, (-0.01, 0.012)), pair("a", "c", 0.02, (0.01, 0.03), told_apart=True))
    assert verdict_in_short(compared(*pairs), FIRST.headline) == said(*pairs)
    assert verdict_in_short(compared(pairs[0]), FIRST.headline) == said(pairs[0])
