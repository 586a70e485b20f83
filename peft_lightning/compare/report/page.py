"""Renders ``report.html``, one file without network or script, from the content of its sections."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from peft_lightning import __version__
from peft_lightning.compare.fairness.settings import listing, short_listing
from peft_lightning.compare.plan.overrides import as_flags
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.baseline import ComparedRecipe, baseline_in_words, compared_with_baseline
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.findings import Findings, first_record
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.label_words import plural
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.sections import (
    answer_pictures,
    answers,
    difference_matrix,
    pairwise_tests,
    pictures,
)
from peft_lightning.compare.report.sections.certainties import describe_certainty
from peft_lightning.compare.report.sections.conditions import describe_fairness, describe_tuning
from peft_lightning.compare.report.study import MANY, STATES, Study
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
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("peft_lightning.compare.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    css = resources.files("peft_lightning.compare.report").joinpath("templates", "report.css").read_text("utf-8")
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
        "confusion", "The confusion of classes is", lambda: answers.confusions(study, findings, labelled), ([], None)
    )
    pictured = answer_pictures.describe_answers(study, findings, labelled, attempts)
    disputed = made(
        "disagreements",
        "The reviews on which recipes disagree are",
        lambda: answers.disputed(findings, labelled, texts),
        None,
    )
    certainty = made("certainty", "The certainty of answers is", lambda: describe_certainty(study, findings), None)
    recipes = made("recipes", "The recipes' settings are", lambda: _recipes(study, hide), ([], []))
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
        "css": Markup(css.strip()),
        "introduction": made("introduction", "The introduction is", lambda: _introduction(study, hide), []),
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
        "version": __version__,
        "run_count": "1 run" if len(study.runs) == 1 else f"{len(study.runs)} runs",
    }
    page: str = environment.get_template("report.html").render(content)
    # Spaces at the ends of lines come from the template and are removed.
    return "\n".join(line.rstrip() for line in page.split("\n")).strip() + "\n"


def bare_page(title: str, table: str, sentences: Sequence[str]) -> str:
    """Returns a page with the table alone, for a report whose page could not be rendered.

    Args:
        title: The comparison's name.
        table: The table in Markdown.
        sentences: What is left out, and why.
    """
    paragraphs = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)
    head = f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
    return f"{head}<body>\n<h1>{escape(title)}</h1>\n{paragraphs}<pre>{escape(table)}</pre>\n</body>\n</html>\n"


def _recipes(study: Study, hide: Hiding) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Returns what was given to all recipes, and the settings of each."""
    return _commands(study, hide), [
        {
            "label": recipe.label,
            "origin": hide.value(recipe.origin),
            "settings": yaml.safe_dump(hide.value(recipe.settings), sort_keys=False, allow_unicode=True),
        }
        for recipe in study.recipes
    ]


def _against(
    study: Study, compared: Sequence[ComparedRecipe], metric: Metric
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    return difference_matrix.describe_baseline(compared, metric), baseline_in_words(
        study, compared, metric, every_cost=not study.many
    )


def _introduction(study: Study, hide: Hiding) -> list[str]:
    planned = [recipe.label for recipe in study.recipes if recipe.planned]
    joined = [recipe.label for recipe in study.recipes if not recipe.planned]
    seeds = ", ".join(map(str, study.plan.seeds))
    whole = all(run.state == "finished" for recipe in study.recipes if recipe.planned for run in recipe.runs)
    trained = "trained" if whole else "to be trained"
    recipes = f"{len(planned)} recipes" if len(planned) >= MANY else listing(planned)
    sentences = [f"{recipes}, each {trained} with {words.runs(len(study.plan.seeds))} ({seeds})."]
    found = first_record(study.recipes)
    if found is not None:
        record = found[1]
        clauses = []
        if record.backbone is not None:
            clauses.append(f"Backbone {hide.value(record.backbone.name)}")
        if (data := record.dataset) is not None:
            clauses.append(
                f"reviews from {hide.value(data.source)}: {data.n_train:,} to train on, {data.n_val:,} to validate on,"
                f" {data.n_test:,} to test on, {data.length_in_words}"
            )
        if record.environment is not None:
            clauses.append(f"run on {record.environment.device} at {record.environment.precision}")
        sentences.append("; ".join(clauses) + ".")
    if joined:
        verb = "has" if len(joined) == 1 else "have"
        sentences.append(f"{short_listing(joined)} {verb} joined from other runs.")
    return sentences


def _commands(study: Study, hide: Hiding) -> list[tuple[str, str]]:
    overlays = " ".join(str(hide.value(overlay)) for overlay in study.plan.overlays)
    overrides = " ".join(f"{flag} {hide.value(value)}" for flag, value in as_flags(study.plan.overrides))
    rows = (("Laid over every recipe", overlays), ("Given to every run", overrides))
    return [(what, flags) for what, flags in rows if flags]


def _had(value: str, labels: Sequence[str], count: int) -> str:
    return value if count == 1 else f"{value} ({short_listing(labels)})"
