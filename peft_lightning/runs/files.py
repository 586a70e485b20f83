"""Atomic writes: a reader or a resumed run finds the old content of a file or the new, never a part."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from peft_lightning.errors import Part, UserError


@dataclass(frozen=True)
class Mend:
    """Advice for a file that cannot be written.

    Args:
        no_space: What to do if the disk is full.
        refused: What to do if the folder cannot be written.
    """

    no_space: tuple[Part, ...]
    refused: tuple[Part, ...]


ANYWHERE = Mend(("free some, then try again",), ("choose another folder, or make this one writable",))


class CannotWrite(UserError):
    """A file cannot be written; the command that catches the error can replace its mend by a better one.

    >>> error = CannotWrite(Path("last.ckpt"), "Permission denied")
    >>> str(error.mended(Mend(no_space=("free some",), refused=("go elsewhere",))))
    'cannot write last.ckpt (Permission denied): go elsewhere'

    Args:
        path: The file or folder.
        reason: The operating system's message.
        no_space: Whether the disk is full.
        mend: What to do about it; None for general advice that ``mended`` may replace.
    """

    def __init__(self, path: Path, reason: str, no_space: bool = False, mend: Mend | None = None) -> None:
        fact = f"no space left to write {path}: " if no_space else f"cannot write {path} ({reason}): "
        known = mend or ANYWHERE
        super().__init__(fact, *(known.no_space if no_space else known.refused))
        self.path = path
        self.reason = reason
        self.no_space = no_space
        self.mend = mend

    def __reduce__(self) -> tuple[type["CannotWrite"], tuple[Path, str, bool, Mend | None]]:
        """Returns how to unpickle the error: ``args`` holds the message's parts, not the constructor's arguments."""
        return CannotWrite, (self.path, self.reason, self.no_space, self.mend)

    @classmethod
    def because(cls, error: OSError, path: Path) -> "CannotWrite":
        """Returns the error to raise instead of the operating system's.

        Args:
            error: The operating system's error.
            path: The file or folder that was written.
        """
        return cls(path, str(error.strerror), error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

    def mended(self, mend: Mend) -> "CannotWrite":
        """Returns the error with this mend, unless it has one already."""
        return self if self.mend is not None else CannotWrite(self.path, self.reason, self.no_space, mend)


def partial_of(path: Path) -> Path:
    """Returns the temporary file beside a file that takes its place once it is whole."""
    return path.with_name(f"{path.name}.partial")


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside a file, and renames it to that file once all is on disk.

    Args:
        path: The file to write.

    Yields:
        The temporary file, open for binary writing.

    Raises:
        CannotWrite: If the disk is full or the folder cannot be written; the old file is kept.
    """
    temporary = partial_of(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # what prevented the write may prevent the removal
            temporary.unlink()
        raise CannotWrite.because(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step.

    Raises:
        CannotWrite: If the disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content)
