"""What a report that is shared does not show: folders of the machine that made it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ELLIPSIS = "…/"
WEB = r"https?://[^\s'\"<>]+"
# Where a path begins for sure: file:///, C:\, ~ada/, /, ../, or two folders of a relative one.
BEGINNING = r"file:/+|[A-Za-z]:[\\/]|~\w*/|\.{1,2}[\\/]|/|(?<!-)[\w.-]+/(?=[\w.-]+/)"
# Folders may hold spaces, but not what begins another path, a flag, a quotation or a line.
FOLDERS = r"(?:(?:(?! [-/~'\"]| \.{1,2}/)[^/\\\n'\"<>])+[/\\]+)*"
PATH = re.compile(rf"(?P<web>{WEB})|(?<![\w.…/<>\\])(?:{BEGINNING}){FOLDERS}(?=[^\s/\\'\"<>])")
# Names on the hub, owner/name, which look like a relative path; they have 96 letters at most.
HUB_NAME = re.compile(r"[\w.-]{0,95}\w/[\w.-]{1,96}")


@dataclass(frozen=True)
class Hiding:
    """How texts and values come into a report.

    Args:
        text: What is done to running text that may hold paths.
        value: What is done to a setting, which may be a path as a whole; lists and mappings are gone through.
    """

    text: Callable[[str], str]
    value: Callable[[object], object]


def without_folders(text: str) -> str:
    """Shortens paths to their last part; with spaces in a folder it takes rather too much than too little.

    Args:
        text: Any text.
    """
    return PATH.sub(lambda match: match["web"] or ELLIPSIS, text)


def last_name(value: object) -> object:
    """Shortens a setting that is a path to its last name.

    Args:
        value: A setting, or a list or mapping of settings.
    """
    if isinstance(value, Mapping):
        return {key: last_name(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [last_name(one) for one in value]
    if not isinstance(value, str) or re.fullmatch(WEB, value):
        return value
    # What is on the hub may be named; the same two words can be a folder here.
    if HUB_NAME.fullmatch(value) and not value.startswith(".") and not Path(value).exists():
        return value
    if re.search(r"[/\\]", value) and not re.search(r"[\n{}\[\]]", value):
        return ELLIPSIS + re.split(r"[/\\]+", value.rstrip("/\\"))[-1]
    return without_folders(value)


NOTHING = Hiding(str, lambda value: value)
ALL_FOLDERS = Hiding(without_folders, last_name)
