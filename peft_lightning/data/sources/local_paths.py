"""Paths that a source's name stands for, and those that a wrong name is like."""

import difflib
import os
from pathlib import Path

from peft_lightning.data.sources.table_columns import table_suffix
from peft_lightning.runs.given_paths import given_path

# Ends of names that files have and a dataset on the hub has not.
_OF_FILES = (".txt", ".gz", ".zip", ".xlsx", ".arrow")


def names_a_file(path: Path) -> bool:
    """Tells whether a path ends as a file's name does.

    Args:
        path: The path, which need not exist.
    """
    return table_suffix(path) is not None or path.name.lower().endswith(_OF_FILES)


def near_paths(source: str) -> list[str]:
    """Finds folders and tables beside a path that does not exist whose names are like its own, the nearest first.

    Args:
        source: The path as the user writes it, as the answers begin too.
    """
    folder, name = os.path.split(source.rstrip("/"))
    try:
        there = [path for path in given_path(folder).iterdir() if path.is_dir() or table_suffix(path) is not None]
    except OSError:
        return []
    # A name that is not UTF-8 is one that no record could hold.
    names = sorted(path.name for path in there if path.name.isprintable())
    like = [known for known in names if known.startswith(f"{name}.")]
    like += difflib.get_close_matches(name, [known for known in names if known not in like])
    return [os.path.join(folder, known) for known in like[:3]]
