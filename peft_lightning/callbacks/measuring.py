"""The protocol by which measuring callbacks pass their figures to ``RunRecorder``."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Measuring(Protocol):
    """A callback that measures a section of the run record."""

    section: str

    def figures(self) -> Mapping[str, Any]:
        """Returns the figures measured so far, by their names in the record's section."""
        ...
