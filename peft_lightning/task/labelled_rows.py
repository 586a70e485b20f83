"""Rows whose labels are spelled as in their source: what tasks are found from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class LabelledRows(Protocol):
    """Rows whose labels are spelled as in their source."""

    @property
    def name(self) -> str:
        """Name of the rows in error messages."""
        ...

    @property
    def labels(self) -> Sequence[object]:
        """The labels: numbers, words or booleans, or lists of these."""
        ...

    @property
    def label_names(self) -> Sequence[str] | None:
        """Names of the labels 0, 1, …, if the source has them."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the label columns if there are several: each label is then a tuple with a value of each."""
        ...


@dataclass(frozen=True)
class PlainRows:
    """Rows whose labels were spelled anew.

    Args:
        name: Name of the rows in error messages.
        labels: The labels.
        label_names: Names of the labels 0, 1, …, if they have some.
        columns: Names of the label columns if there are several.
    """

    name: str
    labels: Sequence[object]
    label_names: Sequence[str] | None = None
    columns: Sequence[str] = ()
