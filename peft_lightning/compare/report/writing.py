"""Writes a comparison's report into its folder, and prints it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import Findings, find
from peft_lightning.compare.report.hiding import ALL_FOLDERS, NOTHING
from peft_lightning.compare.report.page import render_page
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.results_csv import as_csv
from peft_lightning.compare.report.sections.answers import disputed_ids
from peft_lightning.compare.report.sections.conditions import describe_fairness
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.report.summary_table import as_markdown, on_other_data
from peft_lightning.compare.report.surroundings import describe_surroundings
from peft_lightning.compare.report.terminal import print_report
from peft_lightning.compare.report.texts import Texts, read_texts
from peft_lightning.compare.statistics import verdict, verdict_in_short
from peft_lightning.runs.files import Mend
from peft_lightning.runs.output_file import OutputFile

# Up to this number of pairs the terminal shows a sentence for each.
FEW = 6
WITHOUT_TEXTS = "Numbers are rows of the test split; the texts are left out of this report."
WRITE_AGAIN = Mend(
    ("free some, then write the report again",), ("make its folder writable, then write the report again",)
)


def write_report(folder: Path, others: Sequence[Path] = (), texts: bool = True) -> None:
    """Prints the table and the verdict, and writes ``table.md``, ``results.csv`` and ``report.html``.

    The report is made only from what the runs left on disk: the same records make the same bytes.

    Args:
        folder: The comparison's folder, which gets the files.
        others: Directories of further runs that join the report.
        texts: Whether the page shows the texts of reviews on which recipes disagree. Without them the data source is
            not opened, and the files name no folders of this machine.

    Raises:
        UserError: If a folder holds no comparison or no run, or cannot be written.
    """
    from rich.console import Console

    study = read_study(folder, others)
    files = {name: OutputFile(folder / name, mend=WRITE_AGAIN) for name in ("table.md", "results.csv", "report.html")}
    for file in files.values():
        file.check()
    findings = find(study)
    rows = summarise(study, findings)
    statistics, task = findings.statistics, study.task
    metric = task.headline
    whole_verdict = verdict(statistics, metric) if statistics is not None else ()
    pairs = len(statistics.differences) if statistics is not None else 0
    shown = _texts(study, findings) if texts else WITHOUT_TEXTS
    hide = NOTHING if texts else ALL_FOLDERS
    page = render_page(study, findings, rows, whole_verdict, shown, hide)
    for name, content in (
        ("table.md", as_markdown(rows, task)),
        ("results.csv", as_csv(study, hide)),
        ("report.html", page),
    ):
        files[name].write(content.encode())
    console = Console(highlight=False)
    cautions = [*findings.partial, *_cautions(study, rows)]
    if statistics is not None and not any(pair.told_apart for pair in statistics.differences):
        pairwise = verdict_in_short(statistics, metric)
    else:
        pairwise = whole_verdict if pairs <= FEW else whole_verdict[:-pairs]
    sentences = [*cautions, *pairwise, *findings.left_out, *study.notes]
    print_report(console, rows, recommend(rows, statistics, metric), sentences, task)
    console.print(f"\nwritten to {folder}: report.html, table.md, results.csv", markup=False, soft_wrap=True)


def _cautions(study: Study, rows: Sequence[Figures]) -> list[str]:
    """Returns sentences to read before the verdict: missing runs, and what differs beyond the method."""
    unfinished = "; ".join(f"{row.label}: {row.trouble}" for row in rows if row.trouble)
    fairness = describe_fairness(study, describe_surroundings(study), NOTHING)
    return [
        *([f"Not finished: {unfinished}."] if unfinished else []),
        *on_other_data(rows, study.task.headline),
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
