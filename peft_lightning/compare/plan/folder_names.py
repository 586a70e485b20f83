"""Which names a comparison and its recipes can have: a folder's, which every file and page shows as it is."""

import unicodedata

# What file systems allow for a name.
MOST_BYTES = 255
# Letters of a name that an error shows.
LONGEST_SHOWN = 60
# A spreadsheet takes a text that begins so for a formula.
FORMULAS = "=+-@"
# Control characters and line separators; and the marks that turn the direction of the text after them around.
_UNSEEN = {"Cc", "Zl", "Zp"}
_TURNING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def name_problem(name: str) -> str | None:
    """Says why a name cannot be a folder's; None if it can.

    >>> name_problem("lora, r=4 ($5)"), name_problem("a/b")
    (None, 'has a path separator in it')

    Args:
        name: The name.

    Returns:
        Words that follow the name in a sentence.
    """
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "means another folder"
    if "/" in name:
        return "has a path separator in it"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if any(map(_unseen, name)):
        return "has a line break or another character in it that is not seen"
    if size > MOST_BYTES:
        return f"has {size} bytes, and a file system takes {MOST_BYTES}"
    return None


def formula_problem(name: str) -> str | None:
    """Says that spreadsheets take a name for a formula; None if they do not."""
    return f"begins with {name[0]}, which spreadsheets take for a formula" if name.startswith(tuple(FORMULAS)) else None


def visible(text: str) -> str:
    """Replaces each character that is not seen by its escape, in a text that is not ours to refuse."""
    return "".join(letter.encode("unicode_escape").decode() if _unseen(letter) else letter for letter in text)


def _unseen(letter: str) -> bool:
    return letter in _TURNING or unicodedata.category(letter) in (*_UNSEEN, "Cs")
