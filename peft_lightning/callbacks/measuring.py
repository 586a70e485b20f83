"""How a measuring callback hands its figures to the one writer of the record."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Measuring(Protocol):
    """A callback that measures a section of the run record."""

    section: str

    def figures(self) -> Mapping[str, Any]:
        """Returns what is measured so far, by the names of the record's section."""
        ...
