"""Cells and rules of Markdown's tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

NONE = "–"


def table(header: Sequence[str], lines: Iterable[Sequence[str]], rule: str = "---") -> str:
    """Writes a table.

    Args:
        header: the columns' names.
        lines: the cells of each row.
        rule: what aligns the columns after the first.
    """
    rules = ["---", *[rule] * (len(header) - 1)]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in itertools.chain([header, rules], escaped))


def number(value: float | None, digits: int) -> str:
    """Writes a figure; a dash where it was not measured."""
    return NONE if value is None else f"{value:,.{digits}f}"
