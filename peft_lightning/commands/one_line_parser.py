"""The parser of the commands that are not LightningCLI's, whose mistakes end in one line."""

import argparse
from typing import Any, NoReturn

from peft_lightning.commands.program import program
from peft_lightning.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """A parser that raises mistakes as ``UserError``, which ends in one line.

    Args:
        word: The command's word.
        explained_by: What explains the command's options; the word with ``--help`` if not given.
        settings: What ``argparse.ArgumentParser`` takes.
    """

    def __init__(self, word: str, explained_by: str | None = None, **settings: Any) -> None:
        super().__init__(prog=f"{program()} {word}", allow_abbrev=False, **settings)
        self._word = word
        self._explained_by = explained_by or f"{word} --help"

    def error(self, message: str) -> NoReturn:
        """Raises the mistake."""
        raise UserError(f"{self._word}: {message} ({self._explained_by} explains it)")
