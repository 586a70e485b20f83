"""Short unique names for recipes, whose files may have the same stem."""

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
    return [label if counts[label] == 1 else f"{label}-{number + 1}" for number, label in enumerate(labels)]
