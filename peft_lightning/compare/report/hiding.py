"""Removes from a report that is to be shared the folders of the machine that made it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ELLIPSIS = "…/"
WEB = r"https?://[^\s'\"<>]+"
# What surely begins a path: file:///, C:\, ~ada/, /, ../, or two folders of a relative path.
BEGINNING = r"file:/+|[A-Za-z]:[\\/]|~\w*/|\.{1,2}[\\/]|/|(?<!-)[\w.-]+/(?=[\w.-]+/)"
# The names of folders may contain spaces, but not what begins another path, a flag, a quotation or a line.
FOLDERS = r"(?:(?:(?! [-/~'\"]| \.{1,2}/)[^/\\\n'\"<>])+[/\\]+)*"
PATH = re.compile(rf"(?P<web>{WEB})|(?<![\w.…/<>\\])(?:{BEGINNING}){FOLDERS}(?=[^\s/\\'\"<>])")
# Names on the hub, owner/name, which look like a relative path. They have at most 96 characters.
HUB_NAME = re.compile(r"[\w.-]{0,95}\w/[\w.-]{1,96}")


@dataclass(frozen=True)
class Hiding:
    """How texts and settings are changed before they are written into a report.

    Args:
        text: Changes running text that may contain paths.
        value: Changes a setting that may be a path, or a list or mapping of settings.
    """

    text: Callable[[str], str]
    value: Callable[[object], object]


def without_folders(text: str) -> str:
    """Shortens the paths in a text to their last part. With spaces in folders it removes too much, not too little."""
    return PATH.sub(lambda match: match["web"] or ELLIPSIS, text)


def last_name(value: object) -> object:
    """Shortens a setting that is a path to its last name, also within lists and mappings."""
    if isinstance(value, Mapping):
        return {key: last_name(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [last_name(item) for item in value]
    if not isinstance(value, str) or re.fullmatch(WEB, value):
        return value
    # A name on the hub is kept, unless a folder of that name exists here.
    if HUB_NAME.fullmatch(value) and not value.startswith(".") and not Path(value).exists():
        return value
    if re.search(r"[/\\]", value) and not re.search(r"[\n{}\[\]]", value):
        return ELLIPSIS + re.split(r"[/\\]+", value.rstrip("/\\"))[-1]
    return without_folders(value)


NOTHING = Hiding(str, lambda value: value)
ALL_FOLDERS = Hiding(without_folders, last_name)
