"""Prints the table, the recommendations and the verdict in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.compare.report.figure_words import DASH
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.report.ranking import Recommendation
from peft_lightning.compare.report.summary_table import RECIPE, Column, columns
from peft_lightning.task import Metric

PADDING = 2


def print_report(
    console: Console,
    rows: Sequence[Figures],
    recommendations: Sequence[Recommendation],
    sentences: Sequence[str],
    metrics: Sequence[Metric],
) -> None:
    """Prints the table, with the metrics that are shown, the recommendations and the sentences."""
    shown, dropped = _fitting(columns(rows, metrics), rows, console.width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, PADDING, 0, 0))
    for column in shown:
        justify = "left" if column is RECIPE else "right"
        table.add_column(_lines(column.title, column.second_title), justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(_lines(column.cell(row), column.second(row)) for column in shown))
    console.print(table)
    names = ", ".join(column.title for column in dropped if _says_something(column, rows))
    if names:
        console.print(Text(f"Too narrow for {names}: they are in table.md and report.html.", style="dim"))
    console.print()
    for found in recommendations:
        answer = f"{found.answer}, {found.figure}. {found.reason}".rstrip() if found.answer else found.reason
        console.print(Text.assemble((f"{found.question}: ", "bold"), visible(answer)))
    console.print()
    for sentence in sentences:
        console.print(Text(visible(sentence)))


def _lines(first: str, second: str) -> Text:
    first = visible(first)
    return Text.assemble(first, ("\n" + visible(second), "dim")) if second else Text(first)


def _fitting(every: Sequence[Column], rows: Sequence[Figures], width: int) -> tuple[list[Column], list[Column]]:
    """Drops the least important columns until the others fit; returns the columns shown and those dropped."""
    shown = list(every)
    while len(shown) > 1 and sum(_width(column, rows) + PADDING for column in shown) > width:
        optional = [column for column in shown if column is not RECIPE]
        shown.remove(min(optional, key=lambda column: column.weight if _says_something(column, rows) else 0))
    return shown, [column for column in every if column not in shown]


def _says_something(column: Column, rows: Sequence[Figures]) -> bool:
    return any(column.cell(row) != DASH for row in rows)


def _width(column: Column, rows: Sequence[Figures]) -> int:
    cells = [column.title, column.second_title]
    cells += [text for row in rows for text in (column.cell(row), column.second(row))]
    return max(map(len, cells))
