"""Long lists of cases, of which the fast suite runs a few."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pytest


def mostly_slow(cases: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Marks all cases slow but those named."""
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]


def sampled(cases: Sequence[tuple[Any, ...]], every: int) -> list[Any]:
    """Marks all cases slow but every so many."""
    slow = pytest.mark.slow
    return [case if n % every == 0 else pytest.param(*case, marks=slow) for n, case in enumerate(cases)]
