"""Plain lines for a log or a pipe: one when a job starts and one when it ends."""

from collections.abc import Mapping, Sequence

from peft_lightning.compare.display import row_words
from peft_lightning.compare.display.time_left import time_left
from peft_lightning.compare.execution.board import Row, peak_memory
from peft_lightning.runs.durations import round_duration
from peft_lightning.task import task_named


class PlainLines:
    """Prints a line for every start and every end.

    Args:
        title: The name of the work.
        forecast_s: Forecast seconds of a run, by the job's variant.
        at_once: Number of jobs that run at the same time.
    """

    def __init__(self, title: str, forecast_s: Mapping[str, float], at_once: int = 1) -> None:
        self._title = title
        self._forecast_s = forecast_s
        self._at_once = at_once
        self._rows: list[Row] = []
        self._numbers: dict[int, int] = {}

    def begin(self, rows: Sequence[Row]) -> None:
        """Prints how many jobs there are."""
        self._rows = list(rows)
        self._numbers = {id(row): number for number, row in enumerate(rows, 1)}
        ended = [row.outcome for row in rows if row.outcome is not None]
        finished = sum(outcome.finished for outcome in ended)
        earlier = f", {finished} of them finished before" if finished else ""
        # Of the jobs that did not finish only a diverged learning rate is not run again.
        earlier += f", {len(ended) - finished} of them diverged before" if len(ended) > finished else ""
        self._say(f"{self._title}: {len(rows)}{earlier}{self._time_left()}")

    def started(self, row: Row) -> None:
        """Prints that a job starts."""
        self._say(f"{self._place(row)} started")

    def update(self) -> None:
        """Prints nothing: a log has no bars."""

    def ended(self, row: Row) -> None:
        """Prints how a job ended."""
        record = row.outcome.record if row.outcome is not None else None
        if (trouble := row_words.trouble(row)) is not None:
            ending = trouble.removeprefix(f"{row.job.title}: ")
        elif record is not None:
            value, name = peak_memory(record.memory)
            split = "test" if task_named(record.problem_type).headline.test in record.metrics else "validation"
            figures = [f"{row_words.metric(row)} {split} {row_words.metric_name([row])}"]
            figures += [f"{row_words.train_time(row)} training"]
            figures += [f"{value:.2f} GiB {name}"] if value is not None else []
            ending = f"finished, {', '.join(figures)}"
        else:
            ending = row_words.status(row)
        self._say(f"{self._place(row)} {ending}{self._time_left()}")

    def end(self) -> None:
        """Prints nothing: the last job has had its line."""

    def _place(self, row: Row) -> str:
        return f"[{self._numbers[id(row)]}/{len(self._rows)}] {row.job.title}:"

    def _time_left(self) -> str:
        seconds = time_left(self._rows, self._forecast_s, self._at_once)
        return f"; about {round_duration(seconds)} left" if seconds else ""

    @staticmethod
    def _say(line: str) -> None:
        print(line, flush=True)
