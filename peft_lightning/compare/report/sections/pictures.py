"""The sections with pictures, each with its content in words or figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.figures import Figures, of_the_same_data, timed_alike
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.plots.curve_overview import MOST_SHOWN, draw_overview
from peft_lightning.compare.report.plots.headline import draw_headlines, draw_tradeoff
from peft_lightning.compare.report.plots.learning_curves import draw_curves
from peft_lightning.compare.report.plots.memory_bars import NAMES, draw_memory, parts
from peft_lightning.compare.report.study import MANY, Study
from peft_lightning.runs.curves import Curves
from peft_lightning.task import Metric


def headlines(findings: Findings, rows: Sequence[Figures], metric: Metric) -> dict[str, Any] | None:
    """Returns the picture of the headline metric with intervals; None if nothing was tested.

    Args:
        findings: The statistics, for the metric of each seed.
        rows: The recipes' figures.
        metric: The headline metric.
    """
    by_seed = {
        label: [value for record in records if (value := record.metrics.get(metric.test)) is not None]
        for label, records in findings.counted.items()
    }
    svg, note = draw_headlines(rows, by_seed, metric)
    if not svg:
        return None
    elsewhere = of_the_same_data(rows)[1]
    if elsewhere:
        note = f"{note} On other data: {listing(elsewhere)}.".strip()
    # A wide picture scrolls on a phone and does not shrink; this one and the memory's are wide.
    return {"svg": _wide(svg), "note": note, "seeds": any(len(values) > 1 for values in by_seed.values())}


def tradeoffs(rows: Sequence[Figures], metric: Metric, baseline: str | None = None) -> dict[str, Any]:
    """Returns the pictures of the headline metric against memory and against time, and why one is missing."""
    shown, missing = [], []
    compared, on_other_data = of_the_same_data(rows)
    gpu = {row.label: row.gpu_allocated_gib for row in compared if row.gpu_allocated_gib is not None}
    alike, elsewhere = timed_alike(compared)
    seconds = {row.label: row.train_s for row in alike if row.train_s is not None}
    minutes = max(seconds.values(), default=0.0) >= 120
    time = {label: value / 60 if minutes else value for label, value in seconds.items()}
    for name, title, costs, axis in (
        ("tradeoff-memory", f"{metric.title} against GPU memory", gpu, "peak GPU memory in training, GiB"),
        (
            "tradeoff-time",
            f"{metric.title} against time",
            time,
            f"training time, {'minutes' if minutes else 'seconds'}",
        ),
    ):
        svg, best = draw_tradeoff(name, rows, costs, axis, axis, metric, baseline)
        if svg:
            others = " The others are grey; point at one for its name." if len(rows) >= MANY else ""
            caption = f"On the Pareto front: {listing(best)}.{others}"
            shown.append({"title": title, "svg": Markup(svg), "caption": caption})
        elif costs or name == "tradeoff-time" or any(row.not_measured for row in rows):
            missing.append(f"{title} takes two tested recipes that measured both.")
        else:
            no_run = "No run on the comparison's own data" if on_other_data else "No run"
            missing.append(f"{no_run} used a GPU, so there is no picture of {metric.name} against GPU memory.")
    if on_other_data:
        missing.append(f"On other data, and so in no picture of cost: {listing(on_other_data)}.")
    if elsewhere:
        missing.append(f"Timed on another device, and so not in the picture of time: {listing(elsewhere)}.")
    return {"tradeoffs": shown, "no_tradeoffs": missing}


def curves(study: Study) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns the learning curves of every recipe that has any, also of unfinished runs.

    Returns:
        A picture for each recipe, unless there are many, and sentences on histories that are damaged and left out.
    """
    damaged = []
    found: dict[str, list[tuple[int, Curves]]] = {}
    for recipe, run in study.runs:
        if run.history is None:
            continue
        read = Curves(run.history, study.task.headline)
        try:
            if read.read():
                found.setdefault(recipe.label, []).append((run.seed, read))
        except (OSError, ValueError, csv.Error) as error:
            reason = f"its {run.history.name} is damaged ({error})"
            damaged.append(f"The curve of {recipe.label}'s seed {run.seed} is left out: {reason}.")
    every = {label: [curve for _, curve in seeds] for label, seeds in found.items()}
    labels = [recipe.label for recipe in study.recipes]
    shown = [
        {
            "label": label,
            "number": labels.index(label),
            "svg": "" if study.many else Markup(draw_curves(label, labels.index(label), every)),
            "curves": every[label],
            "caption": words.runs(len(seeds)),
            "rows": [_ends(seed, curve) for seed, curve in seeds],
        }
        for label, seeds in found.items()
    ]
    return shown, damaged


def overview(study: Study, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns one picture of many recipes' curves; the baseline and the recipes with the best results are in colour.

    Args:
        study: The runs, recipes ranked.
        shown: The recipes' curves, from ``curves``.
    """
    if not study.many or not shown:
        return None
    curves: dict[str, list[Curves]] = {recipe["label"]: recipe["curves"] for recipe in shown}
    first = [study.baseline] if study.baseline in curves else []
    best = [label for label in curves if label not in first]
    coloured = [*first, *best][:MOST_SHOWN]
    return {"svg": _wide(draw_overview(curves, coloured)), "coloured": coloured}


def memory(rows: Sequence[Figures]) -> dict[str, Any] | None:
    """Returns the picture of the memory's parts; None if nothing was measured."""
    svg = draw_memory(rows)
    if not svg:
        return None
    with_activations = any(row.activations_gib is not None for row in rows)
    if with_activations:
        note = (
            "Activations are what was allocated at the training peak beyond the other three, workspaces included."
            " Paged optimiser state lies outside torch's allocator and is counted here all the same."
        )
    else:
        note = "Activations were not measured: on a CPU there is no allocator to ask."
    names = NAMES if with_activations else NAMES[:3]
    return {
        "svg": _wide(svg),
        "note": note,
        "names": names,
        "all_names": NAMES,
        "rows": [{"label": row.label, "cells": [words.gibibytes(part) for part in parts(row)]} for row in rows],
    }


def _wide(svg: str) -> Markup:
    return Markup(svg.replace('class="plot"', 'class="plot wide-plot"', 1))


def _ends(seed: int, curves: Curves) -> list[str]:
    metric = curves.metric
    train, loss, measured = (curves.points(name) for name in ("train/loss", "val/loss", metric.validation))
    best = metric.place_of_best(measured[1]) if measured is not None else 0
    return [
        str(seed),
        f"{curves.step:,}",
        f"{train[1][0]:.3f}" if train is not None else words.DASH,
        f"{train[1][-1]:.3f}" if train is not None else words.DASH,
        f"{loss[1][-1]:.3f}" if loss is not None else words.DASH,
        metric.words(float(measured[1][best])) if measured is not None else words.DASH,
        f"{int(measured[0][best]):,}" if measured is not None else words.DASH,
    ]
