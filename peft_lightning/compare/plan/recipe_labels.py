"""Short unique names for recipes, whose files may have the same stem."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def recipe_labels(files: Sequence[Path]) -> list[str]:
    """Names every recipe by its stem, with as many folders before it as make it unique.

    Args:
        files: The recipes' absolute paths, no two of them the same.

    Returns:
        A name for each, which can be a file's name.
    """
    parts = [(*file.parts[1:-1], file.stem) for file in files]
    depths = [1] * len(files)
    while True:
        labels = ["-".join(words[-depth:]) for words, depth in zip(parts, depths, strict=True)]
        counts = Counter(labels)
        deeper = [
            depth + (counts[label] > 1 and depth < len(words))
            for label, depth, words in zip(labels, depths, parts, strict=True)
        ]
        if deeper == depths:
            break
        depths = deeper
    # Even whole paths can give the same name: a/b.yaml and a/b.yml, or a-b/c.yaml and a/b-c.yaml.
    unique = [label if counts[label] == 1 else f"{label}-{number + 1}" for number, label in enumerate(labels)]
    # On many file systems LoRA and lora are one folder, and so are two spellings of the same accent.
    folders = Counter(map(_as_folder, unique))
    return [
        label if folders[_as_folder(label)] == 1 or label == _first(unique, label) else f"{label}-{number + 1}"
        for number, label in enumerate(unique)
    ]


def _as_folder(label: str) -> str:
    return unicodedata.normalize("NFC", label).casefold()


def _first(labels: Sequence[str], label: str) -> str:
    """Returns the first of the labels that may be the same folder as this one."""
    return next(other for other in labels if _as_folder(other) == _as_folder(label))
