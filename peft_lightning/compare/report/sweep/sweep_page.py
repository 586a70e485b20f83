"""Renders the page, the table and the CSV of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.plots.value_curves import ValuePoint, draw_values
from peft_lightning.compare.report.rendering import render
from peft_lightning.compare.report.results_csv import csv_rows, written
from peft_lightning.compare.report.study import STATES
from peft_lightning.compare.report.sweep.swept_study import ReportedValue, SweptStudy, difference_range, in_words
from peft_lightning.runs.markdown import escaped

# With more recipes a picture has more lines than colours, so it shows the baseline and the best.
MOST_DRAWN = 8


def cell(study: SweptStudy, label: str, value: ReportedValue) -> tuple[str, str]:
    """Returns a recipe's headline metric at a value and its interval, in words."""
    row = value.row(label)
    if row is None or value.study.metric != study.metric:
        return words.DASH, ""
    interval = words.span(row.interval, study.metric) if row.interval is not None else ""
    return study.metric.words(row.headline), interval


def sweep_markdown(study: SweptStudy) -> str:
    """Returns the table in Markdown: a row for each recipe, a column for each value."""
    heading = ["recipe", *(f"test {study.metric.name} at {title}" for title in study.sweep.titles)]
    rows = [list(map(escaped, heading)), ["---", *("---:" for _ in study.values)]]
    for label in study.labels:
        cells = [cell(study, label, value) for value in study.values]
        rows.append([escaped(label), *(f"{value} ({interval})" if interval else value for value, interval in cells)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def sweep_csv(study: SweptStudy, hide: Hiding) -> str:
    """Returns all runs as CSV, with a column that has the swept setting's name."""
    rows: list[dict[str, object]] = []
    for value in study.values:
        for row in csv_rows(value.study, hide):
            recipe = row.pop("recipe")
            rows.append(
                {"recipe": recipe, study.sweep.setting: value.value, **row, "run": f"{value.folder}/{row['run']}"}
            )
    return written(rows)


def render_sweep_page(study: SweptStudy, hide: Hiding, attempts: Attempts) -> str:
    """Renders the page; a section that cannot be made says so in its place.

    Args:
        study: The reports of the values, and the statistics across them.
        hide: Changes texts and settings that may contain paths of this machine.
        attempts: Makes the sections, and keeps which of them failed.
    """
    from markupsafe import Markup

    metric = study.metric
    runs = [(value, recipe, run) for value in study.values for recipe, run in value.study.runs]
    content: dict[str, Any] = {
        "title": study.name,
        "sweep": study.sweep,
        "metric": metric,
        "baseline": study.baseline,
        "introduction": _introduction(study),
        "cautions": [hide.text(sentence) for sentence in study.cautions],
        "verdict": in_words(study),
        "table_rows": [
            {"label": label, "number": number, "cells": [cell(study, label, value) for value in study.values]}
            for number, label in enumerate(study.labels)
        ],
        "curves": attempts.made("curves", "The curves are", lambda: Markup(_curves(study)), ""),
        "differences": attempts.made("differences", "The curves of differences are", lambda: Markup(_gaps(study)), ""),
        "drawn": _drawn(study) if len(study.labels) > MOST_DRAWN else [],
        "gaps": [
            {
                "label": gap.method,
                "value": gap.value,
                "cells": [
                    metric.difference(gap.difference, signed=True),
                    difference_range(gap.interval.low, gap.interval.high, metric),
                    words.chance(gap.corrected_p_value),
                ],
                "apart": gap.told_apart,
            }
            for gap in study.gaps
        ],
        "changes": [
            {
                "label": change.method,
                "value": f"{change.first} → {change.second}",
                "cells": [
                    metric.difference(change.change, signed=True),
                    difference_range(change.interval.low, change.interval.high, metric),
                    words.chance(change.corrected_p_value),
                ],
                "apart": change.told_apart,
            }
            for change in study.changes
        ],
        "same_reviews": study.same_reviews,
        "values": [
            {"title": title, "page": f"{value.folder}/report.html", "sentences": [hide.text(s) for s in value.verdict]}
            for title, value in zip(study.sweep.titles, study.values, strict=True)
        ],
        "trouble": [
            {
                "recipe": recipe.label,
                "value": value.value,
                "seed": run.seed,
                "state": STATES[run.state],
                "error": hide.text(run.error or ""),
            }
            for value, recipe, run in runs
            if run.state != "finished"
        ],
        "failed": attempts.failed,
        "run_count": f"{len(runs)} runs",
    }
    return render("sweep.html", content)


def _introduction(study: SweptStudy) -> str:
    seeds = study.values[0].study.plan.seeds
    recipes = f"{len(study.labels)} recipes" if len(study.labels) > MOST_DRAWN else listing(study.labels)
    return (
        f"{recipes}, each with {words.runs(len(seeds))} ({', '.join(map(str, seeds))}) at {len(study.values)} values of"
        f" {study.sweep.setting}: {listing(study.sweep.values)}."
    )


def _drawn(study: SweptStudy) -> list[str]:
    """Returns the recipes that pictures show: the baseline, and those with the best mean over all values."""

    def best(label: str) -> float:
        rows = [value.row(label) for value in study.values]
        known = [study.metric.oriented(row.headline) for row in rows if row is not None and row.headline is not None]
        return sum(known) / len(known) if known else float("-inf")

    others = sorted((label for label in study.labels if label != study.baseline), key=best, reverse=True)
    shown = {study.baseline, *others[: MOST_DRAWN - 1]}
    return [label for label in study.labels if label in shown]


def _curves(study: SweptStudy) -> str:
    points: dict[str, list[ValuePoint]] = {}
    for label in _drawn(study):
        rows = [(value.value, value.row(label)) for value in study.values]
        points[label] = [
            ValuePoint(value, row.headline, row.interval)
            for value, row in rows
            if row is not None and row.headline is not None
        ]
    return _picture("sweep-curves", study, points, f"test {study.metric.name}")


def _gaps(study: SweptStudy) -> str:
    points = {
        label: [
            ValuePoint(gap.value, gap.difference, gap.interval)
            for value in study.sweep.values
            if (gap := study.gap(label, value)) is not None
        ]
        for label in _drawn(study)
        if label != study.baseline
    }
    unit = ", points" if study.metric.percent else ""
    return _picture("sweep-differences", study, points, f"difference to {study.baseline}{unit}", zero=True)


def _picture(
    name: str, study: SweptStudy, points: Mapping[str, list[ValuePoint]], title: str, zero: bool = False
) -> str:
    places = {label: number for number, label in enumerate(_drawn(study))}
    sweep = study.sweep
    titles = (sweep.setting, title)
    svg = draw_values(name, points, places, sweep.values, sweep.numbers, study.metric, titles, zero)
    return svg.replace('class="plot"', 'class="plot wide-plot"', 1)
