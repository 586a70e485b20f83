"""Keeps what a comparison's report wrote, among the results of a benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

FILES = ("report.html", "table.md", "results.csv", "tuning.json")


def copy_report(comparison: Path, out: Path) -> None:
    """Copies the files of a report that there are.

    Args:
        comparison: The comparison's folder.
        out: The folder that gets them, which is made if it is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (comparison / name).is_file():
            shutil.copy(comparison / name, out / name)
