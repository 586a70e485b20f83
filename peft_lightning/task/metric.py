"""A figure that says how good a model is: its key, its name, which way is better, and how it is shown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DASH = "–"


@dataclass(frozen=True)
class Metric:
    """A metric, and all that whoever shows it has to know.

    Args:
        key: Its short name, as in ``val/acc`` and ``test/acc``.
        name: Its name in running text, such as ``accuracy``.
        higher_is_better: Whether more of it is better.
        percent: Whether it is a share that is shown in per cent; its differences are then percentage points.
        lowest: The least that it can be.
        highest: The most that it can be.
        adjective: What a model is that has much of it, such as ``accurate``; empty where there is no such word.
        decimals: Decimals of a figure that is not shown in per cent.
    """

    key: str
    name: str
    higher_is_better: bool = True
    percent: bool = False
    lowest: float = -math.inf
    highest: float = math.inf
    adjective: str = ""
    decimals: int = 3

    @property
    def validation(self) -> str:
        """What it is called where it is measured on the validation split."""
        return f"val/{self.key}"

    @property
    def test(self) -> str:
        """What it is called where it is measured on the test split."""
        return f"test/{self.key}"

    @property
    def title(self) -> str:
        """Its name as a heading begins with it."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def slug(self) -> str:
        """Its name as part of an address or of a file's name."""
        return self.name.replace(" ", "-")

    @property
    def most(self) -> str:
        """Who is best by it, as a heading: ``Most accurate``."""
        return f"Most {self.adjective}" if self.adjective else f"Best {self.name}"

    @property
    def more(self) -> str:
        """What somebody is who is better by it: ``more accurate``."""
        return f"more {self.adjective}" if self.adjective else "better"

    @property
    def less(self) -> str:
        """What somebody is who is worse by it: ``less accurate``."""
        return f"less {self.adjective}" if self.adjective else "worse"

    @property
    def good(self) -> str:
        """What two are alike in who have as much of it: ``accurate``."""
        return self.adjective or "good"

    @property
    def extreme(self) -> str:
        """Where its best is: the highest or the lowest."""
        return "highest" if self.higher_is_better else "lowest"

    @property
    def in_units(self) -> str:
        """What a list of its differences says of their unit: ``, in percentage points``; empty without one."""
        return ", in percentage points" if self.percent else ""

    def oriented(self, value: float) -> float:
        """Turns a figure so that higher is better, and such a one, as scores are, back into a figure.

        Args:
            value: The figure, or a mean score.
        """
        return value if self.higher_is_better else -value

    def improves(self, value: float, best: float | None) -> bool:
        """Tells whether a figure is better than the best so far.

        Args:
            value: The figure.
            best: The best so far; None if there is none.
        """
        return best is None or self.oriented(value) > self.oriented(best)

    def best(self, values: Iterable[float]) -> float:
        """Finds the best of some figures.

        Args:
            values: One or more.
        """
        return max(values, key=self.oriented)

    def place_of_best(self, values: Sequence[float] | npt.NDArray[np.float64]) -> int:
        """Finds where the best of some figures is, the first of equals.

        Args:
            values: One or more.
        """
        return max(range(len(values)), key=lambda place: self.oriented(float(values[place])))

    def words(self, value: float | None) -> str:
        """Words a figure; one that was not measured is a dash.

        Args:
            value: The figure.
        """
        if value is None:
            return DASH
        return f"{100 * value:.1f} %" if self.percent else f"{value:.{self.decimals}f}"

    def roughly(self, value: float) -> str:
        """Words a figure in round numbers.

        Args:
            value: The figure.
        """
        return f"{100 * value:.0f} %" if self.percent else f"{value:.2g}"

    def tick(self, value: float) -> str:
        """Words a tick of an axis, with no more decimals than it needs.

        Args:
            value: The figure.
        """
        return f"{round(100 * value, 6):g} %" if self.percent else f"{round(value, 8):g}"

    def span(self, low: float, high: float) -> str:
        """Words an interval.

        Args:
            low: Its lower end.
            high: Its upper end.
        """
        if self.percent:
            return f"{100 * low:.1f} – {100 * high:.1f}"
        return f"{low:.{self.decimals}f} – {high:.{self.decimals}f}"

    def difference(self, value: float, signed: bool = False) -> str:
        """Words a difference, of shares in percentage points, with a true minus sign.

        One decimal is enough, except for small ones, so that no real difference reads as 0.0.

        Args:
            value: The difference.
            signed: Whether a positive one gets its sign.
        """
        points = 100 * value
        if not self.percent:
            text = f"{value:+.{self.decimals}g}"
        else:
            text = f"{points:+.1f}" if abs(points) >= 0.095 else f"{points:+.2f}"
        if float(text) == 0:
            return "0.0"
        return (text if signed else text.removeprefix("+")).replace("-", "−")

    def gap(self, value: float) -> str:
        """Words a difference with its unit: ``0.4 points``.

        Args:
            value: The difference.
        """
        return f"{self.difference(value)} points" if self.percent else self.difference(value)


LOSS = Metric("loss", "loss", higher_is_better=False)
