"""Files that a user names for a command's output: checked before anything is computed, and never an input."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.files import ANYWHERE, CannotWrite, Mend, atomic_file, partial_of
from peft_lightning.stop_signals import is_reader_gone

# What the system calls this process's open files; `>(gzip > out.gz)` of a shell becomes one of them.
_DESCRIPTORS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_MOST_LINKS = 40


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
        self._path = None if path is None else os.fspath(path)
        self._setting = setting
        other = (", or name another file with ", Setting(setting))
        self._mend = Mend(("free some", *other), ("make it writable", *other)) if setting else mend

    def __str__(self) -> str:
        """Returns the name for messages."""
        return "standard output" if self._path is None else self._path

    def check(self, inputs: Iterable[Path] = ()) -> None:
        """Checks that the output can be written, and that it is no input; nothing is changed.

        Args:
            inputs: Files that the command reads, which the output must not replace; those that do not exist count
                as none.

        Raises:
            UserError: If it cannot be written, or would replace an input.
        """
        if self._path is None:
            return
        if not self._path.strip() or "\0" in self._path:
            raise self._refused(f"{self._path!r} names no file")
        descriptor = self._descriptor()
        try:
            found = os.stat(self._path) if descriptor is None else os.fstat(descriptor)
        except FileNotFoundError:
            self._check_new()
            return
        except OSError as error:
            raise self._cannot(error) from error
        for file in inputs:
            with suppress(OSError):
                if os.path.samestat(found, os.stat(file)):
                    raise self._refused(f"{self._path} is {_also(self._path, file)}: name another file")
        if descriptor is not None:
            return
        if stat.S_ISDIR(found.st_mode):
            if not self._setting:
                raise self._cannot(OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
            raise self._refused(f"{self._path} is a folder: name a file in it, {self._path.rstrip('/')}/FILE")
        if stat.S_ISSOCK(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise self._refused(f"{self._path} is a {'disk' if stat.S_ISBLK(found.st_mode) else 'socket'}: name a file")
        if not os.access(self._path, os.W_OK):
            raise self._refused(f"{self._path} may not be written: make it writable, or name another file")
        if stat.S_ISCHR(found.st_mode):
            self._try_device()
        elif stat.S_ISREG(found.st_mode) and not self._in_place():
            self._try_folder()

    @property
    def is_stream(self) -> bool:
        """Whether what is written is gone at once, as through a pipe, and no file takes another's place."""
        if self._path is None or self._descriptor() is not None:
            return True
        try:
            return not stat.S_ISREG(os.stat(self._path).st_mode)
        except OSError:
            return False

    @property
    def unfinished(self) -> Path | None:
        """The file beside it that may keep what it is to be made of; None where its folder takes none."""
        if self.is_stream or self._in_place():
            return None
        target = self._target()
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
        if self.is_stream or self._in_place():
            self._write_into(parts())
            return
        try:
            with atomic_file(self._target()) as file:
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
        if self._path is None:
            yield self._print
            return
        with self._reported():
            sys.stdout.flush()
            descriptor = self._descriptor()
            if descriptor is None:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY, 0o666)
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

    def _descriptor(self) -> int | None:
        """Returns the number of this process's open file that is named; None for any other file."""
        path = self._path or ""
        for _ in range(_MOST_LINKS):
            if path in _DESCRIPTORS:
                return _DESCRIPTORS[path]
            if (numbered := _NUMBERED.fullmatch(path)) is not None:
                return int(numbered[1])
            try:
                path = os.path.join(os.path.dirname(path), os.readlink(path))
            except (OSError, ValueError):
                return None
        return None

    def _in_place(self) -> bool:
        """Tells whether the file is written to: it is no plain file, or its folder lets no other take its place."""
        try:
            plain = stat.S_ISREG(os.stat(self._path or "").st_mode)
        except OSError:
            return False
        return not plain or not os.access(self._target().parent, os.W_OK)

    def _target(self) -> Path:
        return Path(os.path.realpath(self._path or ""))

    def _check_new(self) -> None:
        target = self._target()
        if not target.parent.is_dir():
            where = (
                Path(self._path or "").parent if target == Path(os.path.abspath(self._path or "")) else target.parent
            )
            raise self._refused(f"{self._path}: there is no folder {where}: make it or name another file")
        if (self._path or "").endswith("/"):
            raise self._refused(f"{self._path} names a folder: name a file")
        self._try_folder()

    def _try_folder(self) -> None:
        """Writes a block beside the file and removes it: a full disk and a folder that cannot be written are found."""
        trial = partial_of(self._target())
        try:
            with trial.open("xb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:  # what a killed process has left here is replaced when there is something to write
            return
        except OSError as error:
            with suppress(OSError):
                trial.unlink()
            raise self._cannot(error) from error
        trial.unlink()

    def _try_device(self) -> None:
        """Writes nothing to a device, which fails where one is full."""
        try:
            descriptor = os.open(self._path or "", os.O_WRONLY | os.O_NOCTTY)
            try:
                os.write(descriptor, b"")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> CannotWrite:
        return CannotWrite.because(error, Path(str(self))).mended(self._mend)

    def _refused(self, fact: str) -> UserError:
        return UserError(Setting(self._setting), ": ", fact) if self._setting else UserError(fact)


def _also(path: str, file: Path) -> str:
    """Words why an output is an input, or a file that a run keeps."""
    same = os.path.abspath(path) == os.path.abspath(file)
    return "an input of this command, or a file of the run" if same else f"the same file as {file}"
