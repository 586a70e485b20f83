"""Renders ``report.html`` from the content of its sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from peft_lightning.compare.fairness.settings import short_listing
from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.baseline import ComparedRecipe, baseline_in_words, compared_with_baseline
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.label_words import plural
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.rendering import render
from peft_lightning.compare.report.sections import (
    answer_pictures,
    confusion,
    difference_matrix,
    disputed_reviews,
    pairwise_tests,
    pictures,
)
from peft_lightning.compare.report.sections.certainties import describe_certainty
from peft_lightning.compare.report.sections.compared_recipes import describe_recipes, introduce
from peft_lightning.compare.report.sections.conditions import describe_fairness, describe_tuning
from peft_lightning.compare.report.study import STATES, Study
from peft_lightning.compare.report.summary_table import columns, legend
from peft_lightning.compare.report.surroundings import Surrounding, describe_surroundings
from peft_lightning.task import Metric, Task

if TYPE_CHECKING:
    from peft_lightning.compare.report.texts import Texts


def _headings(task: type[Task]) -> tuple[tuple[str, str], ...]:
    metric = task.headline
    return (
        ("verdict", "Verdict"),
        ("table", "Table"),
        ("fairness", "Fairness"),
        (metric.slug, metric.title),
        ("costs", "Cost"),
        ("curves", "Learning curves"),
        ("memory", "Memory"),
        ("tests", "Tests"),
        ("confusion", "Confusion"),
        *answer_pictures.headings(task),
        ("disagreements", "Disagreements"),
        ("certainty", "Certainty"),
        ("tuning", "Tuning"),
        ("environment", "Environment"),
        ("recipes", "Recipes"),
    )


def render_page(
    study: Study,
    findings: Findings,
    rows: Sequence[Figures],
    verdict: Sequence[str],
    texts: Texts | str,
    hide: Hiding,
    attempts: Attempts,
) -> str:
    """Renders the page; a section that cannot be made says so in its place.

    Args:
        study: The runs.
        findings: Their statistics.
        rows: The figures of every recipe.
        verdict: The result of the tests, in sentences.
        texts: Texts of disputed reviews, or a sentence that says why there are none.
        hide: Changes texts and settings that may contain paths of this machine.
        attempts: Makes the sections, and keeps which of them failed.
    """
    metric = study.metric
    labelled = findings.task
    if (labelled is None or not labelled.label_names) and not isinstance(texts, str):
        labelled = texts.task
    made = attempts.made
    described: tuple[Surrounding, ...] = made(
        "environment", "The environment is", lambda: describe_surroundings(study, hide), ()
    )
    fairness = made(
        "fairness",
        "What differs beyond the method is",
        lambda: describe_fairness(study, described, hide),
        {"surroundings": [], "rows": [], "shared": "", "tried": "", "loud": "", "headline": ""},
    )
    pairs = len(findings.statistics.differences) if findings.statistics is not None and verdict else 0
    # Of many recipes the groups say what the sentence before the pairs says.
    general = len(verdict) - pairs - (1 if findings.groups and verdict else 0)
    tuning = made("tuning", "The learning rates tried are", lambda: describe_tuning(study), None)
    curves, damaged_curves = made("curves", "The learning curves are", lambda: pictures.curves(study), ([], []))
    overview = made("curves", "The learning curves are", lambda: pictures.overview(study, curves), None)
    headline = made(
        metric.slug, f"The picture of the {metric.name} is", lambda: pictures.headlines(findings, rows, metric), None
    )
    tradeoffs = made(
        "costs",
        "The pictures of the cost are",
        lambda: pictures.tradeoffs(rows, metric, study.baseline),
        {"tradeoffs": [], "no_tradeoffs": []},
    )
    memory = made("memory", "The parts of the memory are", lambda: pictures.memory(rows), None)
    tests = made(
        "tests",
        "The tests are",
        lambda: pairwise_tests.describe_tests(findings, metric),
        {"pairs": [], "no_tests": "", "test_reviews": ""},
    )
    groups, matrix = made(
        "tests",
        "The tests are",
        lambda: (
            difference_matrix.describe_groups(findings, metric),
            difference_matrix.describe_matrix(findings, metric),
        ),
        (None, None),
    )
    against, against_in_words = made(
        "baseline",
        "The comparison with the baseline is",
        lambda: _against(study, compared_with_baseline(findings, rows), metric),
        (None, ()),
    )
    confusions, confused_pairs = made(
        "confusion", "The confusion of classes is", lambda: confusion.confusions(study, findings, labelled), ([], None)
    )
    pictured = answer_pictures.describe_answers(study, findings, labelled, attempts)
    disputed = made(
        "disagreements",
        "The reviews on which recipes disagree are",
        lambda: disputed_reviews.disputed(findings, labelled, texts),
        None,
    )
    certainty = made("certainty", "The certainty of answers is", lambda: describe_certainty(study, findings), None)
    recipes = made("recipes", "The recipes' settings are", lambda: describe_recipes(study, hide), ([], []))
    recommendations = made(
        "recommendations", "The recommendations are", lambda: recommend(rows, findings.statistics, metric), ()
    )
    # A section that has no meaning for the task is left out. If there are no answers at all, the section says so.
    unused = {"tuning"} if tuning is None else set()
    if findings.confusions and not confusions and not confused_pairs:
        unused.add("confusion")
    if findings.confusions and certainty is None:
        unused.add("certainty")
    unused |= {name for name, section in pictured.items() if section is None}
    unused -= set(attempts.failed)
    content: dict[str, Any] = {
        "title": study.name,
        "introduction": made("introduction", "The introduction is", lambda: introduce(study, hide), []),
        "contents": [(id, heading) for id, heading in _headings(study.task) if id not in unused],
        "unused": unused,
        "metric": metric,
        "by_influence": study.chosen is not None,
        "partial": findings.partial,
        "everything_finished": not study.unfinished,
        "recommendations": recommendations,
        "verdict": verdict[:general],
        "verdict_pairs": () if study.many else verdict[len(verdict) - pairs :],
        "many": study.many,
        "groups": groups,
        "pair_matrix": matrix,
        "against": against,
        "against_in_words": against_in_words,
        "left_out": findings.left_out,
        "columns": columns(rows, study.shown),
        "rows": rows,
        "legend": legend(rows, metric),
        "trouble": [
            {"recipe": recipe.label, "seed": run.seed, "state": STATES[run.state], "error": hide.text(run.error or "")}
            for recipe, run in study.unfinished
        ],
        "fairness": fairness,
        "headline": headline,
        **tradeoffs,
        "curves": curves,
        "overview": overview,
        "damaged_curves": [hide.text(sentence) for sentence in damaged_curves],
        "memory": memory,
        **tests,
        "confusions": confusions,
        "confused_pairs": confused_pairs,
        "pictured": pictured,
        "label_word": study.task.label_word,
        "plural": plural(study.task.label_word),
        "disputed": disputed,
        "certainty": certainty,
        "tuning": tuning,
        "environment": [
            (surrounding.name, [_had(value, labels, len(surrounding.values)) for value, labels in surrounding.values])
            for surrounding in described
        ],
        "commands": recipes[0],
        "recipes": recipes[1],
        "failed": attempts.failed,
        "notes": [hide.text(note) for note in study.notes],
        "run_count": "1 run" if len(study.runs) == 1 else f"{len(study.runs)} runs",
    }
    return render("report.html", content)


def _against(
    study: Study, compared: Sequence[ComparedRecipe], metric: Metric
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    return difference_matrix.describe_baseline(compared, metric), baseline_in_words(
        study, compared, metric, every_cost=not study.many
    )


def _had(value: str, labels: Sequence[str], count: int) -> str:
    return value if count == 1 else f"{value} ({short_listing(labels)})"
