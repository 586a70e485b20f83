"""The work as plain lines, for a log or a pipe: one when a job starts and one when it ends."""

from collections.abc import Mapping, Sequence

from peft_lightning.compare.display import row_words
from peft_lightning.compare.display.time_left import time_left
from peft_lightning.compare.execution.board import Row, peak_memory
from peft_lightning.runs.durations import round_duration
from peft_lightning.task import task_named


class PlainLines:
    """Prints a line for every start and every end.

    Args:
        title: What the work is.
        forecast_s: Seconds that a run of each recipe was forecast to take, by label.
        at_once: How many run at the same time.
    """

    def __init__(self, title: str, forecast_s: Mapping[str, float], at_once: int = 1) -> None:
        self._title = title
        self._forecast_s = forecast_s
        self._at_once = at_once
        self._rows: list[Row] = []

    def begin(self, rows: Sequence[Row]) -> None:
        """Says what there is to do.

        Args:
            rows: All jobs.
        """
        self._rows = list(rows)
        ended = [row.outcome for row in rows if row.outcome is not None]
        finished = sum(outcome.finished for outcome in ended)
        earlier = f", {finished} of them finished before" if finished else ""
        # Of what did not finish only a diverged rate is not run again.
        earlier += f", {len(ended) - finished} of them diverged before" if len(ended) > finished else ""
        self._say(f"{self._title}: {len(rows)}{earlier}{self._time_left()}")

    def started(self, row: Row) -> None:
        """Says that a job starts.

        Args:
            row: The job.
        """
        self._say(f"{self._place(row)} started")

    def update(self) -> None:
        """Says nothing: a log is no place for bars."""

    def ended(self, row: Row) -> None:
        """Says how a job ended.

        Args:
            row: The job.
        """
        record = row.outcome.record if row.outcome is not None else None
        if (trouble := row_words.trouble(row)) is not None:
            said = trouble.removeprefix(f"{row.job.title}: ")
        elif record is not None:
            value, name = peak_memory(record.memory)
            split = "test" if task_named(record.problem_type).headline.test in record.metrics else "validation"
            figures = [f"{row_words.metric(row)} {split} {row_words.metric_name([row])}"]
            figures += [f"{row_words.train_time(row)} training"]
            figures += [f"{value:.2f} GiB {name}"] if value is not None else []
            said = f"finished, {', '.join(figures)}"
        else:
            said = row_words.status(row)
        self._say(f"{self._place(row)} {said}{self._time_left()}")

    def end(self) -> None:
        """Says nothing: the last line was said."""

    def _place(self, row: Row) -> str:
        return f"[{self._rows.index(row) + 1}/{len(self._rows)}] {row.job.title}:"

    def _time_left(self) -> str:
        seconds = time_left(self._rows, self._forecast_s, self._at_once)
        return f"; about {round_duration(seconds)} left" if seconds else ""

    @staticmethod
    def _say(line: str) -> None:
        print(line, flush=True)
