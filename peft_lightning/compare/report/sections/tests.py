"""The section on which differences are real."""

from __future__ import annotations

from typing import Any

from peft_lightning.compare.report import words
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.statistics import Difference

NO_TESTS = "There is nothing to test: it takes two recipes with finished runs that answered the same reviews."


def describe_tests(findings: Findings) -> dict[str, Any]:
    """Lists the pairs, largest difference first, the better recipe named first.

    Args:
        findings: The statistics.
    """
    statistics = findings.statistics
    if statistics is None:
        return {"pairs": [], "no_tests": NO_TESTS, "test_reviews": ""}
    ordered = sorted(statistics.differences, key=lambda pair: -abs(pair.difference))
    return {"pairs": [_pair(pair) for pair in ordered], "no_tests": "", "test_reviews": f"{statistics.reviews:,}"}


def _pair(pair: Difference) -> dict[str, Any]:
    first, second, low, high = pair.first, pair.second, pair.interval.low, pair.interval.high
    if pair.difference < 0:
        first, second, low, high = second, first, -high, -low
    return {
        "names": f"{first} − {second}",
        "difference": words.points(abs(pair.difference)),
        "interval": f"{words.points(low)} to {words.points(high)}",
        "p": words.chance(pair.corrected_p_value),
        "told_apart": pair.told_apart,
        "reviews": "" if pair.told_apart else _needed(pair.reviews_needed),
        "seeds": "" if pair.told_apart else _needed(pair.seeds_needed),
    }


def _needed(count: int | None) -> str:
    """To two digits: it is an order of magnitude."""
    if count is None:
        return "not enough alone"
    unit = int(10 ** max(0, len(str(count)) - 2))
    return f"about {-(-count // unit) * unit:,}"
