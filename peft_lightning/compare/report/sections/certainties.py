"""The section on how sure answers are: reliability, coverage, and what was fitted on the validation split."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report.certainty import coverage, reliability
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.plots.coverage_curves import draw_coverage
from peft_lightning.compare.report.plots.reliability import draw_reliability
from peft_lightning.compare.report.plots.svg import SERIES
from peft_lightning.compare.report.study import Study
from peft_lightning.task import Metric
from peft_lightning.task.metric import DASH

# As many recipes as there are colours.
MOST_SHOWN = len(SERIES)
# Shares of the texts in the table.
COVERED = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
# As many names of thresholds as a cell can hold.
NAMED = 3


def describe_certainty(study: Study, findings: Findings) -> dict[str, Any] | None:
    """Returns the pictures and tables; None if no answer has a probability.

    Args:
        study: The runs; of many recipes ranked.
        findings: Their answers.
    """
    metric = study.task.headline
    order = [recipe.label for recipe in study.recipes if recipe.label in findings.confusions]
    answers = {label: findings.confusions[label] for label in order}
    found = {label: each for label in order if (each := reliability(answers[label])) is not None}
    curves = {label: metric_of(metric, curve) for label in order if (curve := coverage(answers[label])) is not None}
    if not found:
        return None
    first = [study.baseline] if study.many and study.baseline in found else []
    shown = [*first, *(label for label in found if label not in first)]
    shown = shown[:MOST_SHOWN] if study.many else shown
    labels = [recipe.label for recipe in study.recipes]
    numbers = {label: place if study.many else labels.index(label) for place, label in enumerate(shown)}
    # Of two classes none is answered below a half.
    lowest = min(float(each.confidence[each.counts > 0].min()) for each in found.values())
    lowest = 0.5 if lowest >= 0.5 else 0.0
    covered = {label: coverage(answers[label], COVERED) for label in found}
    return {
        "panels": [
            {
                "label": label,
                "series": number % len(SERIES) + 1,
                "svg": Markup(draw_reliability(label, number, found[label], lowest)),
                "caption": f"{100 * found[label].mean_confidence:.1f} % expected right,"
                f" {100 * found[label].mean_accuracy:.1f} % are.",
            }
            for label, number in numbers.items()
        ],
        "legend": [{"series": number % len(SERIES) + 1, "label": label} for label, number in numbers.items()],
        "others": len(found) > len(shown),
        "sentence": f"Of {len(found)} recipes {listing(shown)} are shown." if len(found) > len(shown) else "",
        "coverage": Markup(draw_coverage(curves, numbers, metric).replace('class="plot"', 'class="plot wide-plot"', 1)),
        "shares": [f"{100 * share:.0f} %" for share in COVERED],
        "rows": [
            {
                "label": label,
                "error": f"{each.error:.3f}",
                "cells": [metric.words(float(value)) for value in metric_of(metric, covered[label])],
            }
            for label, each in found.items()
        ],
        "fitted": _fitted(study, metric),
    }


def metric_of(metric: Metric, scores: Any) -> Any:
    """Returns values of a metric from mean scores.

    Args:
        metric: The metric.
        scores: Mean scores, an array.
    """
    return scores if metric.higher_is_better else -scores


def _fitted(study: Study, metric: Metric) -> dict[str, Any] | None:
    """Returns what runs fitted on their validation, and what that changes in their test; None if no run did."""
    task = study.task
    keys = ("log_loss", "ece", "f1", metric.key)
    metrics = [task.metric(key) for key in keys]
    rows = []
    for recipe in study.recipes:
        for _, record in recipe.finished:
            fitted = record.calibration
            if fitted is None:
                continue
            thresholds = [f"{name} {value:.3f}" for name, value in (fitted.thresholds or {}).items()]
            more = f", {len(thresholds) - NAMED} more" if len(thresholds) > NAMED else ""
            rows.append(
                {
                    "label": recipe.label,
                    "seed": str(record.seed),
                    "temperature": DASH if fitted.temperature is None else f"{fitted.temperature:.3f}",
                    "thresholds": ", ".join(thresholds[:NAMED]) + more or DASH,
                    "cells": [
                        {
                            "before": each.words(fitted.before.get(each.test)),
                            "after": each.words(fitted.after.get(each.test)),
                        }
                        for each in metrics
                    ],
                }
            )
    return {"metrics": [each.name for each in metrics], "rows": rows} if rows else None
