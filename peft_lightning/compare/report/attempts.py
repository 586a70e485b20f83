"""Makes the parts of a report one by one: a part that fails is left out and named, and costs no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from peft_lightning.compare.plan.folder_names import visible

T = TypeVar("T")


class Attempts:
    """Makes parts of a report, and keeps why any of them could not be made.

    >>> attempts = Attempts()
    >>> attempts.made("curves", "The learning curves are", lambda: [][0], "nothing")
    'nothing'
    >>> attempts.failed
    {'curves': 'The learning curves are left out: IndexError: list index out of range.'}
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        """A sentence on each part that could not be made, by the part's name."""

    def made(self, name: str, what: str, make: Callable[[], T], instead: Any) -> T:
        """Makes a part.

        Args:
            name: The part's name.
            what: The part in words, with its verb: ``The tests are``.
            make: Makes it.
            instead: What to show in its place if that fails; of the same kind, and mostly empty.
        """
        try:
            return make()
        except Exception as error:  # a library that draws or computes may raise anything for figures that are not ours
            reason = " ".join(visible(f"{type(error).__name__}: {error}").split()).rstrip(":. ")
            self.failed.setdefault(name, f"{what} left out: {reason}.")
            replacement: T = instead
            return replacement
