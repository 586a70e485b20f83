"""The section on the tests of all pairs of recipes."""

from __future__ import annotations

from typing import Any

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.statistics import Difference
from peft_lightning.compare.statistics.verdict import rounded_up
from peft_lightning.task import Metric

NO_TESTS = "There is nothing to test: it takes two recipes with finished runs that answered the same reviews."


def describe_tests(findings: Findings, metric: Metric) -> dict[str, Any]:
    """Returns the pairs, the largest difference first; each pair names its better recipe first."""
    statistics = findings.statistics
    if statistics is None:
        return {"pairs": [], "no_tests": NO_TESTS, "test_reviews": ""}
    ordered = sorted(statistics.differences, key=lambda pair: -abs(pair.difference))
    return {
        "pairs": [_pair(pair, metric) for pair in ordered],
        "no_tests": "",
        "test_reviews": f"{statistics.reviews:,}",
    }


def _pair(pair: Difference, metric: Metric) -> dict[str, Any]:
    first, second, low, high = pair.first, pair.second, pair.interval.low, pair.interval.high
    if pair.difference < 0:
        first, second, low, high = second, first, -high, -low
    return {
        "names": f"{first} − {second}",
        "difference": metric.difference(abs(pair.difference), signed=True),
        "interval": f"{metric.difference(low, signed=True)} to {metric.difference(high, signed=True)}",
        "p": words.chance(pair.corrected_p_value),
        "told_apart": pair.told_apart,
        "reviews": "" if pair.told_apart else _needed(pair.reviews_needed),
        "seeds": "" if pair.told_apart else _needed(pair.seeds_needed),
    }


def _needed(count: int | None) -> str:
    return "not enough alone" if count is None else f"about {rounded_up(count):,}"
