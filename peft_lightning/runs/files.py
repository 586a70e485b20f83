"""Writing files so that a reader, or a resumed run, finds the old content or the new, never half of one."""

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
    """What to do where a file cannot be written.

    Args:
        no_space: What to do where the disk is full.
        refused: What to do where the place cannot be written.
    """

    no_space: tuple[Part, ...]
    refused: tuple[Part, ...]


ANYWHERE = Mend(("free some, then try again",), ("choose another folder, or make this one writable",))


class CannotWrite(UserError):
    """A file cannot be written; who runs the program knows a better mend than who writes the file.

    >>> error = CannotWrite(Path("last.ckpt"), "Permission denied")
    >>> str(error.mended(Mend(no_space=("free some",), refused=("go elsewhere",))))
    'cannot write last.ckpt (Permission denied): go elsewhere'

    Args:
        path: The file or folder.
        reason: What the operating system said.
        no_space: Whether space ran out.
        mend: What to do about it; None where nobody has said yet.
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
        """Returns how it is made anew: its arguments are not the message's parts."""
        return CannotWrite, (self.path, self.reason, self.no_space, self.mend)

    @classmethod
    def because(cls, error: OSError, path: Path) -> "CannotWrite":
        """Returns the error to raise instead of the operating system's.

        Args:
            error: What the operating system said.
            path: The file or folder.
        """
        return cls(path, str(error.strerror), error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

    def mended(self, mend: Mend) -> "CannotWrite":
        """Returns the error with another mend, unless it has one already.

        Args:
            mend: What the user can do.
        """
        return self if self.mend is not None else CannotWrite(self.path, self.reason, self.no_space, mend)


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary neighbour of a file for writing, and puts it in the file's place when all is on disk.

    Args:
        path: The file to write.

    Yields:
        The neighbour, open for binary writing.

    Raises:
        CannotWrite: If the disk is full or the place cannot be written; the old file is left as it was.
    """
    temporary = path.with_name(f"{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # what kept the file from being written may keep it from being removed
            temporary.unlink()
        raise CannotWrite.because(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step.

    Args:
        path: The file.
        content: Its new content.

    Raises:
        CannotWrite: If the disk is full or the place cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content)
