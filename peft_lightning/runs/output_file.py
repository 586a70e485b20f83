"""Files that a user names for a command's output: checked before anything is computed, and never an input."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peft_lightning.errors import Setting
from peft_lightning.gone_reader import is_reader_gone
from peft_lightning.runs.files import ANYWHERE, CannotWrite, Mend, atomic_file
from peft_lightning.runs.output_check import OutputCheck
from peft_lightning.runs.output_place import OutputPlace


class OutputFile:
    """A file that gets a command's output.

    A plain file is replaced in one step. What a link points to is replaced, and the link stays. A pipe, a terminal, a
    device and an open file of this process, such as ``/dev/stdout``, are written to.

    Args:
        path: The file as the user names it; None for standard output.
        setting: The setting that names it, for messages; empty for a file whose name the program chose.
        mend: What to do if such a file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None, setting: str = "", mend: Mend = ANYWHERE) -> None:
        self._place = None if path is None else OutputPlace(os.fspath(path))
        self._setting = setting
        other = (", or name another file with ", Setting(setting))
        self._mend = Mend(("free some", *other), ("make it writable", *other)) if setting else mend

    def __str__(self) -> str:
        """Returns the name for messages."""
        return "standard output" if self._place is None else self._place.path

    def check(self, inputs: Iterable[Path] = ()) -> None:
        """Checks that the output can be written, and that it is no input; nothing is changed.

        Args:
            inputs: Files that the command reads, which the output must not replace; those that do not exist count
                as none.

        Raises:
            UserError: If it cannot be written, or would replace an input.
        """
        if self._place is not None:
            OutputCheck(self._place, self._setting, self._mend).require(inputs)

    @property
    def is_stream(self) -> bool:
        """Whether what is written is gone at once, as through a pipe, and no file takes another's place."""
        return self._place is None or self._place.is_stream()

    @property
    def unfinished(self) -> Path | None:
        """The file beside it that may keep what it is to be made of; None where its folder takes none."""
        if self._place is None or self._place.is_stream() or self._place.in_place():
            return None
        target = self._place.target()
        return target.with_name(f"{target.name}.unfinished")

    def write(self, content: bytes) -> None:
        """Writes the output.

        Raises:
            CannotWrite: If the disk is full or the file cannot be written; a plain file keeps its content.
        """
        self.write_parts(lambda: [content])

    def write_parts(self, parts: Callable[[], Iterable[bytes]]) -> None:
        """Writes the output piece by piece.

        Args:
            parts: Makes the pieces from the first on; called again where the file turns out not to be replaceable.

        Raises:
            CannotWrite: If the disk is full or the file cannot be written; a plain file keeps its content.
        """
        place = self._place
        if place is None or place.is_stream() or place.in_place():
            self._write_into(parts())
            return
        try:
            with atomic_file(place.target()) as file:
                file.writelines(parts())
        except CannotWrite as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EBUSY:
                raise error.mended(self._mend) from error
            # A file that is mounted into a container cannot be replaced.
            self._write_into(parts())

    def _write_into(self, parts: Iterable[bytes]) -> None:
        with self.opened() as write:
            for part in parts:
                write(part)

    @contextmanager
    def opened(self) -> Iterator[Callable[[bytes], None]]:
        """Opens the output to write into it, as into a pipe.

        Yields:
            A function that writes a piece.

        Raises:
            CannotWrite: If the disk is full or the file cannot be written.
        """
        place = self._place
        if place is None:
            yield self._print
            return
        with self._reported():
            sys.stdout.flush()
            descriptor = place.descriptor()
            if descriptor is None:
                descriptor = os.open(place.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY, 0o666)
            else:
                descriptor = os.dup(descriptor)
            file = os.fdopen(descriptor, "wb")

        def write(content: bytes) -> None:
            with self._reported():
                file.write(content)
                # Whoever reads need not wait for more.
                file.flush()

        try:
            yield write
        finally:
            # Nothing is held back that closing would write.
            with suppress(OSError):
                file.close()

    def _print(self, content: bytes) -> None:
        # Whoever captures Python's output, such as a notebook, has no bytes.
        with self._reported():
            sys.stdout.write(content.decode())
            sys.stdout.flush()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_reader_gone(error):
                raise
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> CannotWrite:
        return CannotWrite.because(error, Path(str(self))).mended(self._mend)
