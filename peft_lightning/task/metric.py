"""Metrics: their key, name and direction, and how their values are formatted."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DASH = "–"


@dataclass(frozen=True)
class Metric:
    """A metric and how to show it.

    Args:
        key: Short name, as in ``val/acc`` and ``test/acc``.
        name: Name in running text, such as ``accuracy``.
        higher_is_better: Whether a higher value is better.
        percent: Whether it is a share that is shown in per cent; its differences are then percentage points.
        lowest: Smallest possible value.
        highest: Largest possible value.
        adjective: Word for a model with a good value, such as ``accurate``; empty if there is no such word.
        decimals: Decimals of a value that is not shown in per cent.
        correlates: What it is a correlation of, ``numbers`` or their ``ranks``; None if it is none.
    """

    key: str
    name: str
    higher_is_better: bool = True
    percent: bool = False
    lowest: float = -math.inf
    highest: float = math.inf
    adjective: str = ""
    decimals: int = 3
    correlates: Literal["numbers", "ranks"] | None = None

    @property
    def validation(self) -> str:
        """Name under which it is logged on the validation split."""
        return f"val/{self.key}"

    @property
    def test(self) -> str:
        """Name under which it is logged on the test split."""
        return f"test/{self.key}"

    @property
    def title(self) -> str:
        """The name with a capital, for a heading."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def slug(self) -> str:
        """The name as part of a URL or a file name; one of a label has that label's name in it."""
        return re.sub(r"[^\w-]+", "-", self.name)

    @property
    def most(self) -> str:
        """Heading for the best by this metric: ``Most accurate``."""
        return f"Most {self.adjective}" if self.adjective else f"Best {self.name}"

    @property
    def more(self) -> str:
        """Comparative for the better by this metric: ``more accurate``."""
        return f"more {self.adjective}" if self.adjective else "better"

    @property
    def less(self) -> str:
        """Comparative for the worse by this metric: ``less accurate``."""
        return f"less {self.adjective}" if self.adjective else "worse"

    @property
    def good(self) -> str:
        """Adjective for two that are equal by this metric, as in "equally accurate": ``accurate``."""
        return self.adjective or "good"

    @property
    def extreme(self) -> str:
        """Which value is best: ``highest`` or ``lowest``."""
        return "highest" if self.higher_is_better else "lowest"

    @property
    def in_units(self) -> str:
        """Phrase for the unit of a list of differences: ``, in percentage points``; empty if it has no unit."""
        return ", in percentage points" if self.percent else ""

    def oriented(self, value: float) -> float:
        """Converts a value to a score, of which higher is better, or a mean score back to a value.

        Args:
            value: The value, or the mean score.
        """
        return value if self.higher_is_better else -value

    def improves(self, value: float | None, best: float | None) -> bool:
        """Tells whether a value is better than the best so far; an undefined one never is.

        Args:
            value: The value; None or NaN if it is undefined.
            best: The best so far; None if there is none.
        """
        if value is None or math.isnan(value):
            return False
        return best is None or self.oriented(value) > self.oriented(best)

    def best(self, values: Iterable[float]) -> float:
        """Returns the best of some values.

        Args:
            values: One or more values.
        """
        return max(values, key=self.oriented)

    def place_of_best(self, values: Sequence[float] | npt.NDArray[np.float64]) -> int:
        """Returns the position of the best of some values, the first of equals.

        Args:
            values: One or more values.
        """
        return max(range(len(values)), key=lambda place: self.oriented(float(values[place])))

    def words(self, value: float | None) -> str:
        """Formats a value; a dash if it was not measured, or is undefined: None or NaN."""
        if value is None or math.isnan(value):
            return DASH
        return f"{100 * value:.1f} %" if self.percent else self.plain(value)

    def roughly(self, value: float) -> str:
        """Formats a value in round numbers."""
        return f"{100 * value:.0f} %" if self.percent else f"{value:.2g}"

    def tick(self, value: float) -> str:
        """Formats a tick of an axis, with no more decimals than it needs."""
        return f"{round(100 * value, 6):g} %" if self.percent else f"{round(value, 8):g}"

    def span(self, low: float, high: float) -> str:
        """Formats an interval."""
        if self.percent:
            return f"{100 * low:.1f} – {100 * high:.1f}"
        return f"{self.plain(low)} – {self.plain(high)}"

    def difference(self, value: float, signed: bool = False) -> str:
        """Formats a difference, of shares in percentage points, with a true minus sign.

        Percentage points have one decimal, small ones two, so that no real difference reads as 0.0.

        Args:
            value: The difference.
            signed: Whether a positive difference gets a plus sign.
        """
        points = 100 * value
        if not self.percent:
            text = f"{value:+.{self.decimals}g}"
        else:
            text = f"{points:+.1f}" if abs(points) >= 0.095 else f"{points:+.2f}"
        # Where nothing varies, intervals are 1e-50 wide, since a variance is a divisor.
        if float(text) == 0 or abs(value) < 1e-30:
            return "0.0"
        return (text if signed else text.removeprefix("+")).replace("-", "−")

    def plain(self, value: float, decimals: int | None = None) -> str:
        """Formats a value as it is, a share too; an error has the unit of its labels: 0.00123, not 0.001.

        Args:
            value: The value.
            decimals: Its decimals, which are significant digits of a small error; those of the metric by default.
        """
        kind = "g" if self.highest == math.inf and 0 < abs(value) < 0.01 else "f"
        return f"{value:.{self.decimals if decimals is None else decimals}{kind}}"

    def gap(self, value: float) -> str:
        """Formats a difference with its unit: ``0.4 points``."""
        return f"{self.difference(value)} points" if self.percent else self.difference(value)


LOSS = Metric("loss", "loss", higher_is_better=False)


def recorded(value: float) -> float | None:
    """Returns a figure as records hold it: None if it is undefined, that is NaN, or infinite."""
    return float(value) if math.isfinite(value) else None
