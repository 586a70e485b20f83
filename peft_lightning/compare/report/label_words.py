"""Names of classes and labels as the pictures and tables show them."""

from __future__ import annotations

import unicodedata

from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.task import Task

# Longer names would leave a picture no room.
LETTERS = 24


def label_in_short(task: Task, number: int) -> str:
    """Returns the name of a class or label on one line, shortened if it is long.

    Args:
        task: The task.
        number: The number of the class or label.
    """
    return name_in_short(label_name(task, number))


def name_in_short(name: str) -> str:
    """Returns a name on one line, shortened if it is long.

    Args:
        name: A name from the user's data.
    """
    name = visible(" ".join(name.split())) or "(empty)"
    if width(name) <= LETTERS:
        return name
    while width(name) > LETTERS - 1:
        name = name[:-1]
    return f"{name.rstrip()}…"


def width(text: str) -> int:
    """Returns the width of a text in letters; those of East Asian scripts are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def label_name(task: Task, number: int) -> str:
    """Returns the name of a class or label, ``class 3`` if it has none.

    Args:
        task: The task.
        number: The number of the class or label.
    """
    names = task.label_names
    return names[number] if number < len(names) else f"{task.label_word} {number}"


def plural(word: str) -> str:
    """Returns the plural of what the field calls a label: ``classes``, ``labels``."""
    return f"{word}es" if word.endswith("s") else f"{word}s"
