"""Makes the report of one comparison and writes its files into the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.baseline import baseline_in_words, compared_with_baseline
from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import Findings, best_first, find, without_statistics
from peft_lightning.compare.report.hiding import ALL_FOLDERS, NOTHING
from peft_lightning.compare.report.page import render_page
from peft_lightning.compare.report.ranking import Recommendation
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.rendering import bare_page
from peft_lightning.compare.report.report_files import write_content
from peft_lightning.compare.report.results_csv import as_csv
from peft_lightning.compare.report.sections.conditions import describe_fairness
from peft_lightning.compare.report.sections.difference_matrix import groups_in_words
from peft_lightning.compare.report.sections.disputed_reviews import disputed_ids
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.report.summary_table import as_markdown, not_measured, on_other_data
from peft_lightning.compare.report.surroundings import describe_surroundings
from peft_lightning.compare.report.texts import Texts, read_texts
from peft_lightning.compare.statistics import compared_by, verdict, verdict_in_short
from peft_lightning.errors import UserError

# Up to this number of pairs the terminal shows a sentence for each.
FEW = 6
WITHOUT_TEXTS = "Numbers are rows of the test split; the texts are left out of this report."


@dataclass(frozen=True)
class WrittenReport:
    """A report that was written.

    Args:
        study: The runs, in the order of the report's rows.
        findings: Their statistics.
        rows: The figures of every recipe.
        recommendations: The answers to what one would choose.
        cautions: Sentences to read before the verdict: missing runs, and what differs beyond the method.
        verdict: The verdict and what was left out, in sentences.
        failed: A sentence on each part that could not be made.
        files: The names of the files that were written.
        in_the_way: Why each of the others could not be written.
    """

    study: Study
    findings: Findings
    rows: tuple[Figures, ...]
    recommendations: Sequence[Recommendation]
    cautions: Sequence[str]
    verdict: Sequence[str]
    failed: tuple[str, ...]
    files: tuple[str, ...]
    in_the_way: tuple[UserError, ...]


def write_files(
    folder: Path,
    others: Sequence[Path] = (),
    texts: bool = True,
    baseline: str | None = None,
    metric: str | None = None,
) -> WrittenReport:
    """Writes the files of a comparison's report, and prints nothing.

    Args:
        folder: As for ``any_report.write_report``, like all that follow; of one comparison.
        others: Directories of further runs.
        texts: Whether the page shows texts of reviews.
        baseline: The label of the recipe that all others are compared with.
        metric: The key of the metric that recipes are compared by; that of the plan if None.

    Raises:
        UserError: If a folder holds no comparison or no run, no recipe is the baseline, or recipes cannot be compared
            by the metric.
    """
    attempts = Attempts()
    planned = read_study(folder, others, baseline, metric)
    findings = attempts.made(
        "statistics", "Intervals, tests and answers are", lambda: find(planned), without_statistics(planned)
    )
    study = best_first(planned, findings) if planned.many else planned
    rows = summarise(study, findings)
    statistics, compared = findings.statistics, study.metric
    whole_verdict: Sequence[str] = ()
    if statistics is not None:
        whole_verdict = attempts.made("verdict", "The verdict is", lambda: verdict(statistics, compared), ())
    pairs = len(statistics.differences) if statistics is not None and whole_verdict else 0
    # The headline is what tables and sentences are of unless they say so.
    by = (compared_by(study.chosen),) if pairs and study.chosen is not None else ()
    whole_verdict = (*by, *whole_verdict)
    shown: Texts | str = WITHOUT_TEXTS
    if texts:
        shown = attempts.made("texts", "The texts are", lambda: _texts(study, findings), "The texts are not shown.")
    hide = NOTHING if texts else ALL_FOLDERS
    table = as_markdown(rows, study.shown)
    # The page comes last: its sections are the most likely to fail.
    makers: dict[str, Callable[[], str]] = {
        "table.md": lambda: table,
        "results.csv": lambda: as_csv(planned, hide),
        "report.html": lambda: render_page(study, findings, rows, whole_verdict, shown, hide, attempts),
    }
    in_the_way: list[UserError] = []

    def instead(name: str) -> str:
        return bare_page(study.name, table, list(attempts.failed.values())) if name == "report.html" else ""

    written = write_content(folder, makers, attempts, instead, in_the_way)
    cautions = [*findings.partial, *_cautions(study, rows, attempts)]
    if statistics is not None and not any(pair.told_apart for pair in statistics.differences):
        pairwise = attempts.made("verdict", "The verdict is", lambda: verdict_in_short(statistics, compared), ())
        pairwise = (*by, *pairwise)
    elif findings.groups and whole_verdict:
        pairwise = (*whole_verdict[: -pairs - 1], groups_in_words(findings))
    else:
        pairwise = tuple(whole_verdict if pairs <= FEW else whole_verdict[:-pairs])
    against_baseline = attempts.made(
        "baseline",
        "The comparison with the baseline is",
        lambda: baseline_in_words(study, compared_with_baseline(findings, rows), compared, every_cost=True),
        (),
    )
    recommendations = attempts.made(
        "recommendations", "The recommendations are", lambda: recommend(rows, statistics, compared), ()
    )
    sentences = [*pairwise, *against_baseline, *findings.left_out, *study.notes, *attempts.failed.values()]
    failed = tuple(attempts.failed.values())
    return WrittenReport(
        study, findings, rows, recommendations, cautions, sentences, failed, written, tuple(in_the_way)
    )


def _cautions(study: Study, rows: Sequence[Figures], attempts: Attempts) -> list[str]:
    """Returns sentences to read before the verdict: missing runs, and what differs beyond the method."""
    unfinished = "; ".join(f"{row.label}: {row.trouble}" for row in rows if row.trouble)
    fairness = attempts.made(
        "fairness",
        "What differs beyond the method is",
        lambda: describe_fairness(study, describe_surroundings(study), NOTHING),
        {"loud": "", "surroundings": []},
    )
    return [
        *([f"Not finished: {unfinished}."] if unfinished else []),
        *on_other_data(rows, study.metric),
        *not_measured(rows),
        *([f"Not only the method differs: {fairness['loud']}"] if fairness["loud"] else []),
        *fairness["surroundings"],
    ]


def _texts(study: Study, findings: Findings) -> Texts | str:
    wanted = disputed_ids(findings)
    label = next(iter(findings.answers), None)
    recipe = next((recipe for recipe in study.recipes if recipe.label == label), None)
    if not wanted or recipe is None:
        return "There are no texts to show."
    # A run that is not paired may have read other texts.
    paired = findings.answers[recipe.label][0]
    run, record = next((run, record) for run, record in recipe.finished if run.answers is paired)
    return read_texts(run, record, wanted)
