"""Writes and prints the report of a folder, whether it holds one comparison or a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peft_lightning.compare.plan.sweep import read_sweep
from peft_lightning.compare.report.report_files import print_written
from peft_lightning.compare.report.sweep.sweep_report import write_sweep_report
from peft_lightning.compare.report.terminal import print_report
from peft_lightning.compare.report.writing import write_files


def write_report(
    folder: Path,
    others: Sequence[Path] = (),
    texts: bool = True,
    baseline: str | None = None,
    metric: str | None = None,
) -> tuple[str, ...]:
    """Prints the table and the verdict, and writes ``table.md``, ``results.csv`` and ``report.html``.

    The report is made only from what the runs left on disk: the same records make the same bytes. A part of it that
    cannot be made is left out and named; so is a file that cannot be written, once the others are.

    Args:
        folder: The comparison's folder, which gets the files; a sweep's gets those of all its values.
        others: Directories of further runs that join the report.
        texts: Whether the page shows the texts of reviews on which recipes disagree. Without them the data source is
            not opened, and the files name no folders of this machine.
        baseline: The label of the recipe that all others are compared with; that of the plan if None.
        metric: The key of the metric that recipes are compared by; if None, that of the plan or the task's headline.

    Returns:
        A sentence on each part that could not be made.

    Raises:
        UserError: If a folder holds no comparison or no run, or cannot be written, or no recipe is the baseline,
            or recipes cannot be compared by the metric.
    """
    from rich.console import Console

    if read_sweep(folder) is not None:
        return write_sweep_report(folder, others, texts, baseline, metric)
    written = write_files(folder, others, texts, baseline, metric)
    console = Console(highlight=False)
    print_report(
        console, written.rows, written.recommendations, [*written.cautions, *written.verdict], written.study.shown
    )
    print_written(console, folder, written.files)
    if written.in_the_way:
        raise written.in_the_way[0]
    return written.failed
