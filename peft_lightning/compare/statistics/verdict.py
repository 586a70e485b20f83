"""Words the statistics of a comparison in plain English."""

from peft_lightning.compare.statistics.interval import Interval
from peft_lightning.compare.statistics.paired_tests import Difference, Statistics
from peft_lightning.task import Metric


def verdict(statistics: Statistics, metric: Metric) -> tuple[str, ...]:
    """Says which methods differ, which are not told apart, and what would tell them apart.

    Args:
        statistics: The statistics, with the numbers of reviews and seeds needed.
        metric: The metric that is compared.

    Returns:
        Sentences: cautions, then the real differences, largest first, then the others, largest first.
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
    sentences.extend(_real(pair, metric) for pair in ordered if pair.told_apart)
    sentences.extend(_not_told_apart(pair, statistics, seeds, metric) for pair in ordered if not pair.told_apart)
    return tuple(sentences)


def compared_by(metric: Metric) -> str:
    """Says by which metric methods are compared, and in which direction."""
    return f"Compared by {metric.name}, of which {'higher' if metric.higher_is_better else 'lower'} is better."


def verdict_in_short(statistics: Statistics, metric: Metric) -> tuple[str, ...]:
    """Returns the verdict in one sentence for all pairs, if there are several and none is told apart.

    Args:
        statistics: The statistics, with the numbers of reviews and seeds needed.
        metric: The metric that is compared.

    Returns:
        Sentences: cautions, and the largest difference with what would tell that pair apart; the whole verdict if any
        pair is told apart or there is only one.
    """
    pairs = statistics.differences
    if len(pairs) < 2 or any(pair.told_apart for pair in pairs):
        return verdict(statistics, metric)
    largest = max(pairs, key=lambda pair: abs(pair.difference))
    better, worse, size, interval = _better_first(largest)
    counts = sorted({method.seeds for method in statistics.methods})
    had = _seeds(counts[0]) if len(counts) == 1 else f"{counts[0]} to {_seeds(counts[-1])}"
    none = f"None of the {len(pairs)} pairs is told apart by {statistics.reviews:,} reviews and {had}"
    if size == 0:
        return (*_cautions(statistics), f"{none}: all measured the same.")
    sentence = (
        f"{none}; the largest difference is {metric.gap(size)}, {better} over {worse}"
        f" ({_range(interval, metric)}, the 95 % interval of this pair alone)."
    )
    return (*_cautions(statistics), f"{sentence} {_needed(largest, statistics.seeds_measured)}")


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


def _real(pair: Difference, metric: Metric) -> str:
    better, worse, size, interval = _better_first(pair)
    return f"{better} is {metric.gap(size)} better than {worse} ({_range(interval, metric)})."


def _not_told_apart(pair: Difference, statistics: Statistics, seeds: dict[str, int], metric: Metric) -> str:
    better, worse, size, interval = _better_first(pair)
    had = f"{seeds[better]} and {_seeds(seeds[worse])}" if seeds[better] != seeds[worse] else _seeds(seeds[better])
    measured = f"{better} measured {metric.gap(size)} better" if size > 0 else "they measured the same"
    sentence = (
        f"{better} and {worse} are not told apart by {statistics.reviews:,} reviews and {had}:"
        f" {measured} ({_range(interval, metric)})."
    )
    return f"{sentence} {_needed(pair, statistics.seeds_measured)}" if size > 0 else sentence


def _needed(pair: Difference, seeds_measured: bool) -> str:
    reviews = f"about {rounded_up(pair.reviews_needed):,} reviews" if pair.reviews_needed is not None else ""
    seeds = f"about {rounded_up(pair.seeds_needed):,} seeds" if pair.seeds_needed is not None else ""
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
    ordered = pair if pair.difference >= 0 else pair.reversed
    return ordered.first, ordered.second, ordered.difference, ordered.interval


def _range(interval: Interval, metric: Metric) -> str:
    return f"{metric.difference(interval.low)} to {metric.difference(interval.high)}"


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _number(count: int) -> str:
    return str(count) if count else "none"


def rounded_up(count: int) -> int:
    """Rounds a number of reviews or seeds, 1 or more, up to two digits; it is not known more precisely."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit
