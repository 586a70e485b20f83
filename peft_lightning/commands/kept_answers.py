"""Where ``predict`` puts its answers: a file from which it goes on, or a pipe."""

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from peft_lightning.data.prediction_batches import Windows
from peft_lightning.runs.answer_file import AnswerFile
from peft_lightning.runs.answer_formats import AnswerFormat
from peft_lightning.runs.output_file import OutputFile

Array = npt.NDArray[Any]


class KeptAnswers:
    """Keeps answers in a file beside the output until all are there; says what goes on, and how.

    Args:
        file: The file.
        windows: The texts.
    """

    def __init__(self, file: AnswerFile, windows: Windows) -> None:
        self._file = file
        self._windows = windows
        self._written = False
        kept = file.keep_what_fits(len(windows), windows.digest, lambda window: len(windows.rows(window)))
        self.windows_done = kept.windows
        self.rows_done = kept.rows
        self.done = sum(len(windows.rows(window)) for window in range(kept.windows)) + len(kept.rows)
        """Number of rows that have answers."""
        self._digests: dict[int, bytes] = {}
        self._say_what_is_kept(kept.dropped)

    def _say_what_is_kept(self, dropped: bool) -> None:
        name = self._file.path
        if self._file.changed:
            what = ", ".join(self._file.changed)
            print(f"starting anew: the answers in {name} differ in their {what}", file=sys.stderr)
        elif dropped and not self.done:
            print(f"starting anew: the answers in {name} are to other texts", file=sys.stderr)
        elif self.done:
            rows = f"{self.done:,} of {len(self._windows.texts):,} rows"
            but = "; the texts behind them are not those that were begun with" if dropped else ""
            print(f"going on: {rows} have their answers in {name}{but}", file=sys.stderr)

    def add(self, index: Array, answers: Array) -> None:
        """Keeps the answers of a batch.

        Args:
            index: Its rows, shape (n,).
            answers: Their answers, shape (n, …).
        """
        window = self._windows.of_row(int(index[0]))
        if window not in self._digests:
            self._digests = {window: self._windows.digest(window)}
        self._file.add(self._digests[window], index, answers)
        self.done += len(index)

    def written(self) -> None:
        """Says that the output has all answers."""
        self._written = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Removes the file if it is of no use any more; otherwise says how to go on."""
        keep = not self._written and self.done > 0
        self._file.close(remove=not keep)
        if keep and self._file.path is not None:
            rows = f"{self.done:,} of {len(self._windows.texts):,} rows"
            print(
                f"\n{rows} have their answers, in {self._file.path}: go on with the same command",
                file=sys.stderr,
                flush=True,
            )


class StreamedAnswers:
    """Writes answers into a pipe or to standard output, a window at a time, in the order of the rows.

    Args:
        output: The output.
        form: Makes its bytes.
        windows: The texts.
    """

    windows_done = 0
    rows_done: frozenset[int] = frozenset()

    def __init__(self, output: OutputFile, form: AnswerFormat, windows: Windows) -> None:
        self._output = output
        self._form = form
        self._windows = windows
        self._stack = ExitStack()
        self._held: list[tuple[Array, Array]] = []
        self.done = 0

    def add(self, index: Array, answers: Array) -> None:
        """Takes the answers of a batch, as in ``KeptAnswers``."""
        self._held.append((index, answers))
        self.done += len(index)
        if sum(len(rows) for rows, _ in self._held) == len(self._windows.rows(self._windows.of_row(int(index[0])))):
            order = np.argsort(np.concatenate([rows for rows, _ in self._held]), kind="stable")
            self._write(self._form.rows(np.concatenate([values for _, values in self._held])[order]))
            self._held = []

    def __enter__(self) -> Self:
        self._write = self._stack.enter_context(self._output.opened())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Writes the end of the file, unless it is not whole, and closes it."""
        with self._stack:
            if error is None and (end := self._form.end()):
                self._write(end)
