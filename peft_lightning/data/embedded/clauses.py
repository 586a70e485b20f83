"""Reads the hand-written clauses, one file per split, and the words that both splits share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

Clauses = dict[str, tuple[str, ...]]


@cache
def read_clauses(name: str) -> Clauses:
    """Reads a file of clauses.

    Args:
        name: The stem of the file beside this module: ``train``, ``test``, or ``words``.

    Returns:
        The clauses by section, in the order of the file.
    """
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for raw in files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], [])
        else:
            current.append(line)
    return {section: tuple(lines) for section, lines in sections.items()}
