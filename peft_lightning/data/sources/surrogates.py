"""Finds strings that hold half of a character: lone surrogates, which JSON and file names can bring into Python."""

import re
from collections.abc import Callable, Sequence

from peft_lightning.errors import UserError

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def refuse_half_characters(values: Sequence[object], row_name: Callable[[int], str]) -> None:
    r"""Refuses strings with half of a character, such as ``"\ud83d"``: neither UTF-8 nor a tokeniser takes them.

    Args:
        values: The values that were read; those that are no strings are let pass.
        row_name: Returns the name of a row from its position, from 0.

    Raises:
        UserError: If a string has half of a character.
    """
    for position, value in enumerate(values):
        if isinstance(value, str) and not value.isascii() and (found := _LONE_SURROGATE.search(value)):
            raise UserError(
                f"{row_name(position)} has half of a character, \\u{ord(found[0]):04x}, which no encoding can write:"
                " remove it or write the character whole"
            )
