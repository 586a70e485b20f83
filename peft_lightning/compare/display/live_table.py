"""A table in the terminal that is redrawn in place: a row and a bar for each job, and the time left.

Of many recipes whose jobs do not fit, only those that run have rows; the others are summed up by recipe.
"""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from peft_lightning.compare.display import row_words
from peft_lightning.compare.display.recipe_summary import state_in_words, summarise_recipes
from peft_lightning.compare.display.time_left import time_left
from peft_lightning.compare.execution.board import Row
from peft_lightning.runs.durations import round_duration

STYLES = {"finished": "green", "failed": "red", "out_of_memory": "red", "interrupted": "yellow", "waiting": "dim"}
# Lines beside the rows: title, three of headings, the note of hidden rows at each end, the total.
FRAME = 8
# Lines beside the rows of running jobs and of recipes: title, counts, three of headings for each, the rest, the total.
FRAME_OF_TWO = 11
# From this number of recipes on, jobs that do not fit are summed up by recipe.
MANY = 9
# Seconds between two drawings of such a table: one of 300 jobs takes up to 40 ms of a processor, so 2 % of it.
PAUSE_S = 2.0


class LiveTable:
    """Redraws a table in place.

    Args:
        title: The name of the work.
        forecast_s: Forecast seconds of a run, by the job's variant.
        at_once: Number of jobs that run at the same time.
        console: The console to draw on; the terminal if None.
    """

    def __init__(
        self, title: str, forecast_s: Mapping[str, float], at_once: int = 1, console: Console | None = None
    ) -> None:
        self._title = title
        self._forecast_s = forecast_s
        self._at_once = at_once
        self._console = console or Console()
        self._rows: list[Row] = []
        self._state: list[tuple[bool, bool]] = []
        self._drawn_at = 0.0
        # No thread that draws: this process starts children, and to fork beside threads is not safe.
        self._live = Live(console=self._console, auto_refresh=False, transient=False)

    def begin(self, rows: Sequence[Row]) -> None:
        """Draws the table for the first time."""
        self._rows = list(rows)
        self._live.start()
        self.update()

    def started(self, row: Row) -> None:
        """Leaves the drawing to ``update``."""

    def update(self) -> None:
        """Draws the table as it stands; a long one less often, unless a job has started or ended."""
        state = [(row.started, row.outcome is None) for row in self._rows]
        if self._by_recipe and state == self._state and time.monotonic() < self._drawn_at + PAUSE_S:
            return
        self._live.update(self._drawn(whole=False), refresh=True)
        self._state, self._drawn_at = state, time.monotonic()

    def ended(self, row: Row) -> None:
        """Leaves the drawing to ``update``."""

    def end(self) -> None:
        """Draws all rows, and leaves them in the terminal."""
        self._live.update(self._drawn(whole=True), refresh=True)
        self._live.stop()

    def _drawn(self, whole: bool) -> Group:
        sentences = [trouble for row in self._rows if (trouble := row_words.trouble(row)) is not None]
        troubles = [
            Text(trouble, "red", no_wrap=not whole, overflow="fold" if whole else "ellipsis") for trouble in sentences
        ]
        # A table that is taller than the terminal cannot be redrawn in place, so only the rows around the running jobs
        # are shown.
        room = len(self._rows) if whole else max(1, self._console.height - FRAME - len(troubles[-3:]))
        if self._by_recipe:
            lines = None if whole else self._console.height - FRAME_OF_TWO - len(troubles[-3:])
            return Group(*self._summed_up(lines), self._total(), *(troubles if whole else troubles[-3:]))
        first = self._first(room)
        shown = self._rows[first : first + room]
        parts: list[Text | Table] = [Text(self._title, style="bold")]
        parts += [Text(f"… {first} above", style="dim")] if first else []
        parts += [self._table(shown)]
        below = len(self._rows) - first - len(shown)
        parts += [Text(f"… {below} below", style="dim")] if below else []
        parts += [self._total(), *(troubles if whole else troubles[-3:])]
        return Group(*parts)

    @property
    def _by_recipe(self) -> bool:
        many = len({row.job.variant for row in self._rows}) >= MANY
        return many and len(self._rows) > self._console.height - FRAME

    def _summed_up(self, lines: int | None) -> list[Text | Table]:
        """Returns the running jobs, and a row for each recipe, the best first; without ``lines`` all recipes."""
        parts: list[Text | Table] = [Text(self._title, style="bold"), Text(state_in_words(self._rows), style="dim")]
        running = [row for row in self._rows if row.started and row.outcome is None]
        summaries = summarise_recipes(self._rows)
        shown = summaries
        if lines is not None:
            # Half of the lines at most are for running jobs: there may be more places than lines.
            jobs = running[: max(1, lines // 2)]
            shown = summaries[: max(1, lines - len(jobs))]
            if jobs:
                parts += [self._table(jobs)]
            if len(running) > len(jobs):
                parts += [Text(f"… {len(running) - len(jobs)} more running", style="dim")]
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
        table.add_column("recipe", no_wrap=True, overflow="ellipsis", max_width=30)
        memory = f"GiB {row_words.memory_name(self._rows)}"
        for heading in ("finished", "train time", row_words.metric_name(self._rows), memory):
            table.add_column(heading, justify="right", no_wrap=True)
        for summary in shown:
            style = "cyan" if summary.running else "red" if summary.failed else ""
            table.add_row(Text(summary.label, style=style), Text(summary.done), *summary.cells)
        parts += [table]
        rest = len(summaries) - len(shown)
        return [*parts, Text(f"… {rest} more recipes", style="dim")] if rest else parts

    def _first(self, room: int) -> int:
        busy = next((number for number, row in enumerate(self._rows) if row.outcome is None), len(self._rows))
        return max(0, min(busy - room // 2, len(self._rows) - room))

    def _table(self, rows: Sequence[Row]) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
        table.add_column("recipe", no_wrap=True, overflow="ellipsis", max_width=14)
        swept = any(row.job.value is not None for row in rows)
        if swept:
            table.add_column("at", no_wrap=True, overflow="ellipsis", max_width=14)
        table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=14)
        table.add_column("status", no_wrap=True, min_width=11)
        table.add_column("", width=8)
        for heading in (
            "steps",
            "train time",
            row_words.metric_name(self._rows),
            f"GiB {row_words.memory_name(self._rows)}",
        ):
            table.add_column(heading, justify="right", vertical="bottom")
        for row in rows:
            table.add_row(
                Text(row.job.label),  # a str would be read as markup
                *([Text(row.job.value or "")] if swept else []),
                Text(row.job.what),
                Text(row_words.status(row), style=STYLES.get(row.status, "cyan")),
                ProgressBar(total=1.0, completed=row.share, width=8),
                *(words(row) for words in (row_words.steps, row_words.train_time, row_words.metric, row_words.peak)),
            )
        return table

    def _total(self) -> Text:
        done = sum(row.outcome is not None for row in self._rows)
        seconds = time_left(self._rows, self._forecast_s, self._at_once)
        left = f", about {round_duration(seconds)} left" if seconds else ""
        return Text(f"{done} of {len(self._rows)} done{left}", style="bold")
