"""Texts that are composed when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload


class ComposedTexts(Sequence[str]):
    """A sequence of texts, none of which is kept."""

    @abstractmethod
    def composed(self, row: int) -> str:
        """Composes a text.

        Args:
            row: Its number, from 0.
        """

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        rows = range(len(self))[row]
        return self.composed(rows) if isinstance(rows, int) else [self.composed(number) for number in rows]
