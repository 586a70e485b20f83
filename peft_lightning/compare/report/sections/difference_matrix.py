"""The section on many recipes: groups that are not told apart, and all differences as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.baseline import COSTS, ComparedRecipe
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.statistics import Difference, letter
from peft_lightning.task import Metric

# A cell is read by its sign without its colour.
BETTER, WORSE, ALIKE = "▲", "▼", "≈"


def describe_groups(findings: Findings, metric: Metric) -> dict[str, Any] | None:
    """Returns the groups of recipes that are not told apart; None if there are none.

    Args:
        findings: The statistics.
        metric: The headline metric.
    """
    statistics = findings.statistics
    if statistics is None or not findings.groups:
        return None
    means = {method.method: metric.oriented(method.mean) for method in statistics.methods}
    rows = [
        {
            "letter": letter(number),
            "size": str(len(group)),
            "range": _range([metric.words(means[group[0]]), metric.words(means[group[-1]])]),
            "members": ", ".join(group),
        }
        for number, group in enumerate(findings.groups)
    ]
    return {"sentence": groups_in_words(findings), "rows": rows}


def groups_in_words(findings: Findings) -> str:
    """Says in a sentence what the groups mean; empty if there are none."""
    statistics = findings.statistics
    if statistics is None or not findings.groups:
        return ""
    tested, count, pairs = len(statistics.methods), len(findings.groups), len(statistics.differences)
    if count == 1:
        return f"No two of the {tested} recipes are told apart (5 % for all {pairs:,} pairs together)."
    apart = sum(pair.told_apart for pair in statistics.differences)
    return (
        f"Of {pairs:,} pairs {apart:,} differ beyond chance (5 % for all pairs together). So the {tested} recipes form"
        f" {count} groups, lettered from the best: two that share a letter are not told apart, two without a common"
        " letter are."
    )


def describe_matrix(findings: Findings, metric: Metric) -> dict[str, Any] | None:
    """Returns the differences of all pairs as a matrix, recipes ranked, each cell its row minus its column.

    Args:
        findings: The statistics.
        metric: The headline metric.

    Returns:
        The rows; None if there are not so many recipes that they were grouped.
    """
    statistics = findings.statistics
    if statistics is None or not findings.groups:
        return None
    ranked = [method.method for method in sorted(statistics.methods, key=lambda method: -method.mean)]
    pairs = {(pair.first, pair.second): (pair, 1) for pair in statistics.differences}
    pairs |= {(pair.second, pair.first): (pair, -1) for pair in statistics.differences}
    return {
        "count": len(ranked),
        "rows": [
            {
                "label": row,
                "letters": findings.letters[row],
                "cells": [
                    None if row == column else _cell(*pairs[row, column], row, column, metric) for column in ranked
                ],
            }
            for row in ranked
        ],
    }


def describe_baseline(compared: Sequence[ComparedRecipe], metric: Metric) -> dict[str, Any] | None:
    """Returns the rows of the table against the baseline; None if there is none.

    Args:
        compared: The recipes beside the baseline.
        metric: The headline metric.
    """
    if not compared:
        return None
    return {
        "name": compared[0].pair.second,
        "costs": [name for name, _ in COSTS],
        "rows": [
            {
                "label": recipe.pair.first,
                "verdict": recipe.verdict,
                "cells": [
                    metric.difference(recipe.pair.difference, signed=True),
                    _range(
                        [
                            metric.difference(recipe.pair.interval.low, signed=True),
                            metric.difference(recipe.pair.interval.high, signed=True),
                        ]
                    ),
                    words.chance(recipe.pair.corrected_p_value),
                ],
                "multiples": recipe.multiples,
            }
            for recipe in compared
        ],
    }


def _cell(pair: Difference, sign: int, row: str, column: str, metric: Metric) -> dict[str, str]:
    difference = metric.difference(sign * pair.difference, signed=True)
    ends = sorted((sign * pair.interval.low, sign * pair.interval.high))
    interval = _range([metric.difference(end, signed=True) for end in ends])
    kind = "alike"
    if pair.told_apart:
        kind = "better" if sign * pair.difference > 0 else "worse"
    return {
        "kind": kind,
        "sign": {"better": BETTER, "worse": WORSE, "alike": ALIKE}[kind],
        "difference": difference,
        "title": f"{row} − {column}: {difference} ({interval}), p {words.chance(pair.corrected_p_value)}",
    }


def _range(ends: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys(ends))
