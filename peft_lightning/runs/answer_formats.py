"""Writes answers as JSON Lines, CSV, TSV or Parquet, as the name of the output says."""

from __future__ import annotations

import gzip
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import Setting, UserError
from peft_lightning.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
# Rows of a Parquet file that are written together, whatever the windows that they come in.
_ROW_GROUP = 1 << 16


class AnswerFormat(ABC):
    """Makes the bytes of a file of answers; equal answers make equal bytes, whatever the portions they come in."""

    @abstractmethod
    def rows(self, answers: Array) -> bytes:
        """Returns the bytes of further rows.

        Args:
            answers: The task's answers in the order of the rows, shape (n, …).
        """

    def end(self) -> bytes:
        """Returns the bytes behind the last row."""
        return b""

    def parts(self, windows: Iterable[Array]) -> Iterator[bytes]:
        """Returns the bytes of a whole file, piece by piece.

        Args:
            windows: The answers, in the order of the rows.
        """
        for answers in windows:
            yield self.rows(answers)
        yield self.end()


def format_for(name: str | None, task: Task) -> AnswerFormat:
    """Chooses the format by the name of the output: JSON Lines, unless it ends in .csv, .tsv or .parquet.

    Args:
        name: The output as the user names it; None for standard output.
        task: The task of the answers.

    Raises:
        UserError: If the name asks for what no reader takes.
    """
    suffix = (name or "").lower()
    compressed = suffix.endswith(".gz")
    suffix = suffix.removesuffix(".gz")
    if suffix.endswith(".parquet"):
        if compressed:
            raise UserError(Setting("output"), f": {name}: Parquet compresses its columns itself: leave .gz out")
        return _Parquet(task)
    kinds: dict[str, Callable[[], AnswerFormat]] = {
        ".csv": partial(_Delimited, task, ","),
        ".tsv": partial(_Delimited, task, "\t"),
    }
    kind = next((kind for end, kind in kinds.items() if suffix.endswith(end)), partial(_JsonLines, task))()
    return _Compressed(kind) if compressed else kind


class _JsonLines(AnswerFormat):
    def __init__(self, task: Task) -> None:
        self._task = task

    def rows(self, answers: Array) -> bytes:
        lines = (json.dumps(self._task.line(answer), ensure_ascii=False) + "\n" for answer in answers.tolist())
        return "".join(lines).encode()


class _Delimited(AnswerFormat):
    def __init__(self, task: Task, delimiter: str) -> None:
        self._task = task
        self._delimiter = delimiter
        self._begun = False

    def rows(self, answers: Array) -> bytes:
        import pyarrow.csv as pa_csv

        written = io.BytesIO()
        options = pa_csv.WriteOptions(include_header=not self._begun, delimiter=self._delimiter, quoting_style="needed")
        pa_csv.write_csv(_table(self._task, answers), written, options)
        self._begun = True
        return written.getvalue()


class _Parquet(AnswerFormat):
    def __init__(self, task: Task) -> None:
        self._task = task
        self._written = io.BytesIO()
        self._writer: Any = None
        self._held: list[Array] = []

    def rows(self, answers: Array) -> bytes:
        self._held.append(answers)
        if sum(map(len, self._held)) >= _ROW_GROUP:
            held = np.concatenate(self._held)
            whole = len(held) // _ROW_GROUP * _ROW_GROUP
            self._write(held[:whole])
            self._held = [held[whole:]]
        return self._taken()

    def end(self) -> bytes:
        if self._held and (len(held := np.concatenate(self._held)) or self._writer is None):
            self._write(held)
        if self._writer is not None:
            self._writer.close()
        return self._taken()

    def _write(self, answers: Array) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = _table(self._task, answers)
        if self._writer is None:
            self._sink = _Counted(self._written)
            self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, "w"), table.schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP)

    def _taken(self) -> bytes:
        content = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return content


class _Counted(io.RawIOBase):
    """Hands on what is written to it; the positions that it tells go on when that is taken away."""

    def __init__(self, target: io.BytesIO) -> None:
        super().__init__()
        self._target = target
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        count = self._target.write(content)
        self._position += count
        return count

    def tell(self) -> int:
        return self._position


class _Compressed(AnswerFormat):
    """Another format, compressed with gzip in a member for each portion; the time of day is left out."""

    def __init__(self, inner: AnswerFormat) -> None:
        self._inner = inner

    def rows(self, answers: Array) -> bytes:
        return self._compressed(self._inner.rows(answers))

    def end(self) -> bytes:
        return self._compressed(self._inner.end())

    @staticmethod
    def _compressed(content: bytes) -> bytes:
        return gzip.compress(content, mtime=0) if content else b""


def _table(task: Task, answers: Array) -> pa.Table:
    import pyarrow as pa

    return pa.table(task.answer_columns(answers))
