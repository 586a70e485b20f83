"""Reads the words of a command line: the files that it names, its flags, and those that choose a class."""

from collections.abc import Iterator, Sequence

from peft_lightning.errors import Setting, UserError
from peft_lightning.recipes.settings_files import Config


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """Takes the ``--config`` options out of a command line.

    Args:
        words: The words after the command's name.

    Returns:
        The files named, in order, and the remaining words.

    Raises:
        UserError: If a ``--config`` is not followed by a file.
    """
    files: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in ("--config", "-c"):
            name = next(remaining, None)
            if name is None:
                raise UserError(Setting("config"), " names no file: say ", Setting("config", "configs/qlora.yaml"))
            files.append(name)
        elif word.startswith("--config="):
            files.append(word.removeprefix("--config="))
        else:
            rest.append(word)
    return files, rest


def read_flags(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Reads ``--name value``, ``--name=value`` and a bare ``--name``.

    Args:
        words: A command line without its ``--config`` options.

    Yields:
        ``--name`` and its value, None if it has none; a word that belongs to no flag, and None.
    """
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            yield word, None
        elif equals:
            yield name, value
        elif remaining and not remaining[0].startswith("--"):
            yield name, remaining.pop(0)
        else:
            yield name, None


def class_flags(words: Sequence[str]) -> Config:
    """Finds the flags that choose a method's class, ``--model.method=IA3``, to merge them like a file.

    Args:
        words: A command line without its ``--config`` options.

    Returns:
        An overlay with the class; empty if no flag chooses one.
    """
    overlay: Config = {}
    for name, value in read_flags(words):
        if name in ("--model.method", "--model.method.class_path") and value and not value.startswith(("-", "{")):
            overlay = {"model": {"method": {"class_path": value}}}
    return overlay
