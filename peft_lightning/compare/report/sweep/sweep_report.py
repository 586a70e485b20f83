"""Writes the report of a sweep into its folder, and prints it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.compare.plan.sweep import Sweep, read_sweep
from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.hiding import ALL_FOLDERS, NOTHING
from peft_lightning.compare.report.rendering import bare_page
from peft_lightning.compare.report.report_files import print_written, write_content
from peft_lightning.compare.report.sweep.sweep_page import cell, render_sweep_page, sweep_csv, sweep_markdown
from peft_lightning.compare.report.sweep.swept_study import ReportedValue, SweptStudy, in_words, study_values
from peft_lightning.compare.report.writing import write_files
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def write_sweep_report(
    folder: Path,
    others: Sequence[Path] = (),
    texts: bool = True,
    baseline: str | None = None,
    metric: str | None = None,
) -> tuple[str, ...]:
    """Writes the report of each value, then that of the sweep, and prints the latter.

    Args:
        folder: The sweep's folder.
        others: Further runs, which only one value's report can take.
        texts: As for ``write_report``.
        baseline: As for ``write_report``.
        metric: As for ``write_report``.

    Returns:
        A sentence on each part that could not be made.

    Raises:
        UserError: As ``write_report``, or if there are further runs.
    """
    from rich.console import Console

    sweep = read_sweep(folder)
    if sweep is None:
        raise UserError(f"{folder} holds no sweep: name the folder of one")
    if others:
        raise UserError(
            f"{folder} compares at several values of {sweep.setting}: further runs join the report of one,"
            f" report {folder / sweep.folders[0]} {others[0]}"
        )
    attempts = Attempts()
    in_the_way: list[UserError] = []
    values = _reported(folder, sweep, texts, baseline, metric, attempts, in_the_way)
    study = study_values(folder.resolve().name, sweep, values, values[0].study.baseline)
    hide = NOTHING if texts else ALL_FOLDERS
    table = sweep_markdown(study)
    makers: dict[str, Callable[[], str]] = {
        "table.md": lambda: table,
        "results.csv": lambda: sweep_csv(study, hide),
        "report.html": lambda: render_sweep_page(study, hide, attempts),
    }

    def instead(name: str) -> str:
        return bare_page(study.name, table, list(attempts.failed.values())) if name == "report.html" else ""

    files = write_content(folder, makers, attempts, instead, in_the_way)
    console = Console(highlight=False)
    _print(console, study, attempts)
    print_written(console, folder, files)
    if in_the_way:
        raise in_the_way[0]
    return tuple(attempts.failed.values())


def _reported(
    folder: Path,
    sweep: Sweep,
    texts: bool,
    baseline: str | None,
    metric: str | None,
    attempts: Attempts,
    in_the_way: list[UserError],
) -> list[ReportedValue]:
    """Writes the report of each value; what could not be made or written is added to the last two arguments."""
    values = []
    for value, name, title in zip(sweep.values, sweep.folders, sweep.titles, strict=True):
        made = write_files(folder / name, (), texts, baseline, metric)
        attempts.failed |= {f"{title}: {number}": f"{title}: {why}" for number, why in enumerate(made.failed)}
        in_the_way += made.in_the_way
        cautions, verdict = tuple(made.cautions), tuple(made.verdict)
        values.append(ReportedValue(value, name, made.study, made.findings, made.rows, cautions, verdict))
    return values


def _print(console: Console, study: SweptStudy, attempts: Attempts) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text(f"test {study.metric.name}"))
    for title in study.sweep.titles:
        table.add_column(Text(visible(title)), justify="right")
    for label in study.labels:
        cells = [cell(study, label, value) for value in study.values]
        table.add_row(
            Text(visible(label)),
            *(Text.assemble(first, ("\n" + second, "dim")) if second else Text(first) for first, second in cells),
        )
    console.print(table)
    console.print()
    for sentence in (*study.cautions, *in_words(study), *attempts.failed.values()):
        console.print(Text(visible(sentence)))
    pages = ", ".join(f"{name}/report.html" for name in study.sweep.folders)
    console.print(Text(f"\nEach value has its own report: {pages}", style="dim"))
