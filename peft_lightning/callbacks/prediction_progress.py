"""Shows how many rows ``predict`` has answered, on standard error: standard output is for the answers."""

import sys
import time

from lightning.pytorch.callbacks import ProgressBar

from peft_lightning.runs.durations import round_duration

_LINE_INTERVAL_S = 30.0
_BAR_INTERVAL_S = 0.2


class PredictionProgress(ProgressBar):
    """Rewrites a line in a terminal, and prints one twice a minute elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._drawn = sys.stderr.isatty()
        self._rows = self._done = self._before = 0
        self._began = self._said = 0.0
        self._width = 0

    def disable(self) -> None:
        """Stops printing; Lightning calls this in the processes of further GPUs."""
        self._enabled = False

    def enable(self) -> None:
        """Prints again."""
        self._enabled = True

    def begin(self, rows: int, done: int) -> None:
        """Starts the clock.

        Args:
            rows: Number of all rows.
            done: Number of rows that have answers from before.
        """
        self._rows, self._done, self._before = rows, done, done
        self._began = self._said = time.monotonic()

    def advance(self, rows: int) -> None:
        """Counts rows that were answered."""
        self._done += rows
        interval = _BAR_INTERVAL_S if self._drawn else _LINE_INTERVAL_S
        if self._enabled and time.monotonic() - self._said >= interval:
            self._said = time.monotonic()
            self._print(self.line())

    def end(self) -> None:
        """Leaves the last line of a terminal as it is, and what follows in a new one."""
        if self._enabled and self._width:
            self._print(self.line())
            print(file=sys.stderr, flush=True)
            self._width = 0

    def line(self) -> str:
        """Returns the progress in words, with the rate and the time left since the clock was started."""
        elapsed = max(time.monotonic() - self._began, 1e-9)
        rate = (self._done - self._before) / elapsed
        share = self._done / max(1, self._rows)
        left = f", about {round_duration((self._rows - self._done) / rate)} left" if rate and share < 1 else ""
        return f"{self._done:,} of {self._rows:,} rows ({share:.0%}), {rate:,.0f} rows/s{left}"

    def _print(self, line: str) -> None:
        if not self._drawn:
            print(line, file=sys.stderr, flush=True)
            return
        print(f"\r{line.ljust(self._width)}", end="", file=sys.stderr, flush=True)
        self._width = len(line)
