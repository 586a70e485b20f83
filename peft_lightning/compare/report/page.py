"""Renders ``report.html``, one file without network or script, from the content of its sections."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from peft_lightning import __version__
from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.plan.overrides import as_flags
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.findings import Findings, first_record
from peft_lightning.compare.report.hiding import Hiding
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.sections import answers, pairwise_tests, pictures
from peft_lightning.compare.report.sections.conditions import describe_fairness, describe_tuning
from peft_lightning.compare.report.study import STATES, Study
from peft_lightning.compare.report.summary_table import columns, legend
from peft_lightning.compare.report.surroundings import describe_surroundings
from peft_lightning.task import Metric

if TYPE_CHECKING:
    from peft_lightning.compare.report.texts import Texts


def _headings(metric: Metric) -> tuple[tuple[str, str], ...]:
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
        ("disagreements", "Disagreements"),
        ("tuning", "Tuning"),
        ("environment", "Environment"),
        ("recipes", "Recipes"),
    )


def render_page(
    study: Study, findings: Findings, rows: Sequence[Figures], verdict: Sequence[str], texts: Texts | str, hide: Hiding
) -> str:
    """Renders the page.

    Args:
        study: The runs.
        findings: Their statistics.
        rows: The figures of every recipe.
        verdict: The result of the tests, in sentences.
        texts: Texts of disputed reviews, or a sentence that says why there are none.
        hide: Changes texts and settings that may contain paths of this machine.
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
    metric = study.task.headline
    labelled = findings.task
    if (labelled is None or not labelled.label_names) and not isinstance(texts, str):
        labelled = texts.task
    described = describe_surroundings(study, hide)
    pairs = len(findings.statistics.differences) if findings.statistics is not None else 0
    tuning = describe_tuning(study)
    curves, damaged_curves = pictures.curves(study)
    confusions = answers.confusions(study, findings, labelled)
    # A section that has no meaning for the task is left out. If there are no answers at all, the section says so.
    unused = {"tuning"} if tuning is None else set()
    if findings.confusions and not confusions:
        unused.add("confusion")
    if any(not seed.right_or_wrong for seeds in findings.answers.values() for seed in seeds):
        unused.add("disagreements")
    content: dict[str, Any] = {
        "title": study.name,
        "css": Markup(css.strip()),
        "introduction": _introduction(study, hide),
        "contents": [(id, heading) for id, heading in _headings(metric) if id not in unused],
        "unused": unused,
        "metric": metric,
        "partial": findings.partial,
        "everything_finished": not study.unfinished,
        "recommendations": recommend(rows, findings.statistics, metric),
        "verdict": verdict[: len(verdict) - pairs],
        "verdict_pairs": verdict[len(verdict) - pairs :],
        "left_out": findings.left_out,
        "columns": columns(rows, study.task),
        "rows": rows,
        "legend": legend(rows, metric),
        "trouble": [
            {"recipe": recipe.label, "seed": run.seed, "state": STATES[run.state], "error": hide.text(run.error or "")}
            for recipe, run in study.unfinished
        ],
        "fairness": describe_fairness(study, described, hide),
        "headline": pictures.headlines(findings, rows, metric),
        **pictures.tradeoffs(rows, metric),
        "curves": curves,
        "damaged_curves": [hide.text(sentence) for sentence in damaged_curves],
        "memory": pictures.memory(rows),
        **pairwise_tests.describe_tests(findings, metric),
        "confusions": confusions,
        "disputed": answers.disputed(findings, labelled, texts),
        "tuning": tuning,
        "environment": [
            (surrounding.name, [_had(value, labels, len(surrounding.values)) for value, labels in surrounding.values])
            for surrounding in described
        ],
        "commands": _commands(study, hide),
        "recipes": [
            {
                "label": recipe.label,
                "origin": hide.value(recipe.origin),
                "settings": yaml.safe_dump(hide.value(recipe.settings), sort_keys=False, allow_unicode=True),
            }
            for recipe in study.recipes
        ],
        "notes": [hide.text(note) for note in study.notes],
        "version": __version__,
        "run_count": "1 run" if len(study.runs) == 1 else f"{len(study.runs)} runs",
    }
    page: str = environment.get_template("report.html").render(content)
    # Spaces at the ends of lines come from the template and are removed.
    return "\n".join(line.rstrip() for line in page.split("\n")).strip() + "\n"


def _introduction(study: Study, hide: Hiding) -> list[str]:
    planned = [recipe.label for recipe in study.recipes if recipe.planned]
    joined = [recipe.label for recipe in study.recipes if not recipe.planned]
    seeds = ", ".join(map(str, study.plan.seeds))
    whole = all(run.state == "finished" for recipe in study.recipes if recipe.planned for run in recipe.runs)
    trained = "trained" if whole else "to be trained"
    sentences = [f"{listing(planned)}, each {trained} with {words.runs(len(study.plan.seeds))} ({seeds})."]
    found = first_record(study.recipes)
    if found is not None:
        record = found[1]
        clauses = []
        if record.backbone is not None:
            clauses.append(f"Backbone {hide.value(record.backbone.name)}")
        if (data := record.dataset) is not None:
            clauses.append(
                f"reviews from {hide.value(data.source)}: {data.n_train:,} to train on, {data.n_val:,} to validate on,"
                f" {data.n_test:,} to test on, cut at {data.max_length} tokens"
            )
        if record.environment is not None:
            clauses.append(f"run on {record.environment.device} at {record.environment.precision}")
        sentences.append("; ".join(clauses) + ".")
    if joined:
        verb = "has" if len(joined) == 1 else "have"
        sentences.append(f"{listing(joined)} {verb} joined from other runs.")
    return sentences


def _commands(study: Study, hide: Hiding) -> list[tuple[str, str]]:
    overlays = " ".join(str(hide.value(overlay)) for overlay in study.plan.overlays)
    overrides = " ".join(f"{flag} {hide.value(value)}" for flag, value in as_flags(study.plan.overrides))
    rows = (("Laid over every recipe", overlays), ("Given to every run", overrides))
    return [(what, flags) for what, flags in rows if flags]


def _had(value: str, labels: Sequence[str], count: int) -> str:
    return value if count == 1 else f"{value} ({listing(labels)})"
