"""Long lists of cases, of which the fast suite runs a few."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_slow(cases: Iterable[Any], fast: Collection[Any]) -> list[Any]:
    """Marks all cases slow but those named."""
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]
