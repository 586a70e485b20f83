"""The comparison in plain English."""

import math

from peft_lightning.compare.statistics.comparison import Difference, Interval, Statistics


def verdict(statistics: Statistics) -> tuple[str, ...]:
    """Says which differences are real, which are not told apart, and what would tell them apart.

    Args:
        statistics: The comparison, with its plan.

    Returns:
        Sentences: what holds for all, the real differences, largest first, then the others, largest first.
    """
    ordered = sorted(statistics.differences, key=lambda pair: -abs(pair.difference))
    seeds = {method.method: method.seeds for method in statistics.methods}
    sentences = list(_cautions(statistics))
    if len(ordered) > 1:
        sentences.append(
            f"Of {len(ordered)} pairs {_number(sum(pair.told_apart for pair in ordered))} differ"
            f" {'' if statistics.seeds_measured else 'as trained models '}beyond chance (5 % for all pairs together);"
            " brackets hold the 95 % interval of each pair alone."
        )
    sentences.extend(_real(pair) for pair in ordered if pair.told_apart)
    sentences.extend(_not_told_apart(pair, statistics, seeds) for pair in ordered if not pair.told_apart)
    return tuple(sentences)


def _cautions(statistics: Statistics) -> list[str]:
    if not statistics.seeds_measured:
        return [
            "Every method was trained with one seed, so the spread over seeds was not measured: the intervals and tests"
            " are for these trained models, not for the methods."
        ]
    return [
        f"{method.method} was trained with one seed: its spread over seeds is taken from the other methods."
        for method in statistics.methods
        if method.seeds == 1
    ]


def _real(pair: Difference) -> str:
    better, worse, size, interval = _better_first(pair)
    return (
        f"{better} is {_points(size)} points better than {worse} ({_points(interval.low)} to {_points(interval.high)})."
    )


def _not_told_apart(pair: Difference, statistics: Statistics, seeds: dict[str, int]) -> str:
    better, worse, size, interval = _better_first(pair)
    had = f"{seeds[better]} and {_seeds(seeds[worse])}" if seeds[better] != seeds[worse] else _seeds(seeds[better])
    measured = f"{better} measured {_points(size)} points better" if size > 0 else "they measured the same"
    sentence = (
        f"{better} and {worse} are not told apart by {statistics.reviews:,} reviews and {had}:"
        f" {measured} ({_points(interval.low)} to {_points(interval.high)})."
    )
    return f"{sentence} {_needed(pair, statistics.seeds_measured)}" if size > 0 else sentence


def _needed(pair: Difference, seeds_measured: bool) -> str:
    reviews = f"about {_rounded_up(pair.reviews_needed):,} reviews" if pair.reviews_needed is not None else ""
    seeds = f"about {_rounded_up(pair.seeds_needed):,} seeds" if pair.seeds_needed is not None else ""
    enough = "would tell them apart four times in five"
    if reviews and seeds:
        text = f"{reviews} with the same seeds, or {seeds} on the same reviews, {enough}."
    elif reviews:
        text = f"{reviews} with the same seeds {enough}."
    elif seeds:
        text = f"{seeds} on the same reviews {enough}; more reviews alone would not: seeds spread too much."
    elif not seeds_measured:
        text = "no number of reviews that anybody has would tell them apart."
    else:
        text = "it would take more reviews and more seeds to tell them apart: neither alone is enough."
    return f"Were that the true difference, {text}"


def _better_first(pair: Difference) -> tuple[str, str, float, Interval]:
    if pair.difference >= 0:
        return pair.first, pair.second, pair.difference, pair.interval
    return pair.second, pair.first, -pair.difference, Interval(-pair.interval.high, -pair.interval.low)


def _points(share: float) -> str:
    """Percentage points to one decimal, small ones to two, so that no real difference reads as 0.0."""
    points = 100 * share
    text = f"{points:.1f}" if abs(points) >= 0.095 else f"{points:.2f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _number(count: int) -> str:
    return str(count) if count else "none"


def _rounded_up(count: int) -> int:
    """To two digits: the plan is not known any better."""
    unit = int(10 ** max(0, int(math.log10(count)) - 1))
    return -(-count // unit) * unit
