"""A file that keeps the answers of an unfinished prediction: whatever ends the process, what was computed is kept.

It begins with a line of JSON that says what the answers were computed with. Records follow, one for each batch: two
lengths and a checksum, the hash of the texts of the window that the batch is from, the rows and their answers. A record
that was cut off, or damaged, counts as if it and all behind it had never been written.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite

Array = npt.NDArray[Any]
_SCHEMA = 1
_HEAD = struct.Struct("<III")
_DIGEST = 16
_BEGINNING = b'{"schema": '
# More than any batch of answers takes; a length beyond it is damage.
_LARGEST = 1 << 30


class AnswerFile:
    """The answers to the rows of one file, in the order in which they are computed; windows follow each other.

    Args:
        path: The file, which another process must not use at the same time; None for one without a name, which is gone
            with the process.
        made_with: What the answers depend on, beside the texts, in plain values.
        window_of: Returns the window that a row is in.

    Raises:
        CannotWrite: If it cannot be written.
        UserError: If another process writes it.
    """

    def __init__(self, path: Path | None, made_with: Mapping[str, Any], window_of: Callable[[int], int]) -> None:
        self.path = path
        self.changed: list[str] | None = None
        """What is different from what earlier answers were made with; None if there were none."""
        self._window_of = window_of
        self._name = path or Path(tempfile.gettempdir())
        # Through JSON and back, as the file's own will be.
        self._made_with: dict[str, Any] = json.loads(json.dumps({"schema": _SCHEMA, **made_with}, default=str))
        try:
            self._file: IO[bytes] = os.fdopen(_unnamed() if path is None else _opened(path), "r+b")
        except OSError as error:
            raise CannotWrite.because(error, self._name) from error
        self._first = self._begin()

    def _begin(self) -> int:
        """Reads what the answers were made with, or writes it; returns where the records begin."""
        line = self._file.readline(_LARGEST)
        if line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
            raise UserError(f"{self._name} is needed for answers, and is another file: move it away")
        if line.endswith(b"\n"):  # otherwise its writer was killed at once
            before = json.loads(line)
            self.changed = [
                name for name in {**self._made_with, **before} if before.get(name) != self._made_with.get(name)
            ]
            if not self.changed:
                return len(line)
        self._cut(0)
        header = (json.dumps(self._made_with) + "\n").encode()
        self._write(header)
        return len(header)

    def keep_what_fits(self, windows: int, digest: Callable[[int], bytes], size: Callable[[int], int]) -> _Kept:
        """Keeps the records of windows whose texts are the same, from the first one on, and drops the others.

        Args:
            windows: Number of windows.
            digest: Returns the hash of a window's texts, 16 bytes.
            size: Returns the number of a window's rows.
        """
        kept = _Kept()
        end = self._first
        rows: set[int] = set()
        known = b""
        for place, found, index, _ in self._records():
            window = self._window_of(int(index[0]))
            if window != kept.windows or window >= windows:
                break
            known = known or digest(window)
            if found != known:
                break
            rows |= set(index.tolist())
            end = place
            if len(rows) == size(window):
                kept.windows, rows, known = kept.windows + 1, set(), b""
        kept.rows = frozenset(rows)
        kept.dropped = self._file.seek(0, os.SEEK_END) > end
        self._cut(end)
        return kept

    def add(self, digest: bytes, index: Array, answers: Array) -> None:
        """Adds the answers of a batch.

        Args:
            digest: The hash of its window's texts.
            index: Its rows, shape (n,).
            answers: Their answers, shape (n, …).

        Raises:
            CannotWrite: If the disk is full.
        """
        parts = [_as_bytes(index), _as_bytes(answers)]
        content = digest + b"".join(parts)
        self._write(_HEAD.pack(len(parts[0]), len(parts[1]), zlib.crc32(content)) + content)

    def windows(self) -> Iterator[Array]:
        """Reads the answers window by window, each in the order of its rows."""
        held: list[tuple[Array, Array]] = []
        window = 0
        for _, _, index, answers in self._records():
            if held and self._window_of(int(index[0])) != window:
                yield _in_order(held)
                held = []
            window = self._window_of(int(index[0]))
            held.append((index, answers))
        if held:
            yield _in_order(held)

    def close(self, remove: bool) -> None:
        """Closes the file.

        Args:
            remove: Whether its answers are of no use any more.
        """
        if remove and self.path is not None:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _records(self) -> Iterator[tuple[int, bytes, Array, Array]]:
        """Yields where each whole record ends, the hash of its window's texts, its rows and their answers."""
        place = self._first
        while True:
            self._file.seek(place)
            head = self._file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            rows, answers, checksum = _HEAD.unpack(head)
            if rows + answers > _LARGEST:
                return
            content = self._file.read(_DIGEST + rows + answers)
            if len(content) < _DIGEST + rows + answers or zlib.crc32(content) != checksum:
                return
            place += _HEAD.size + len(content)
            yield (
                place,
                content[:_DIGEST],
                _from_bytes(content[_DIGEST : _DIGEST + rows]),
                _from_bytes(content[_DIGEST + rows :]),
            )

    def _cut(self, end: int) -> None:
        try:
            self._file.truncate(end)
            self._file.seek(end)
        except OSError as error:
            raise CannotWrite.because(error, self._name) from error

    def _write(self, content: bytes) -> None:
        # To the system at once: whatever ends this process, the record is there.
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise CannotWrite.because(error, self._name) from error


class _Kept:
    """What an earlier process has left: ``windows`` from the first, ``rows`` of the next; whether more was dropped."""

    def __init__(self) -> None:
        self.windows = 0
        self.rows: frozenset[int] = frozenset()
        self.dropped = False


def sha256_of(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unnamed() -> int:
    with tempfile.TemporaryFile(prefix="peft_lightning.") as file:
        return os.dup(file.fileno())


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UserError(f"another process is predicting into {path}: wait for it, or name another output") from error
    return descriptor


def _as_bytes(values: Array) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return content.getvalue()


def _from_bytes(content: bytes) -> Array:
    values: Array = np.load(io.BytesIO(content), allow_pickle=False)
    return values


def _in_order(parts: list[tuple[Array, Array]]) -> Array:
    order = np.argsort(np.concatenate([index for index, _ in parts]), kind="stable")
    ordered: Array = np.concatenate([answers for _, answers in parts])[order]
    return ordered
