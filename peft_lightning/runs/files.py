"""Writing files so that a reader, or a resumed run, finds the old content or the new, never half of one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from peft_lightning.errors import UserError
from peft_lightning.runs.progress import VARIABLE


@dataclass(frozen=True)
class Mend:
    """What to do where a file cannot be written; who writes it knows which options there are.

    Args:
        no_space: What to do where the disk is full.
        refused: What to do where the place cannot be written.
    """

    no_space: str
    refused: str


RUN = Mend(
    "free some, then go on with --ckpt_path last or run with another --trainer.default_root_dir",
    "choose another folder with --trainer.default_root_dir",
)
# Its folder is lightning_logs/compare/NAME in the working directory, and its runs lie in there.
COMPARISON = Mend(
    "free some, then go on with --resume", "make its folder writable, then go on with --resume, or begin it elsewhere"
)
REPORT = Mend("free some, then write the report again", "make its folder writable, then write the report again")


@contextmanager
def atomic_file(path: Path, mend: Mend | None = None) -> Iterator[IO[bytes]]:
    """Opens a temporary neighbour of a file for writing, and puts it in the file's place when all is on disk.

    Args:
        path: The file to write.
        mend: What a user can do where it cannot be written; what a run's user can do if None.

    Yields:
        The neighbour, open for binary writing.

    Raises:
        UserError: If the disk is full or the place cannot be written; the old file is left as it was.
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
        raise UserError(explain(error, path, mend)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes, mend: Mend | None = None) -> None:
    """Replaces a file's content in one step.

    Args:
        path: The file.
        content: Its new content.
        mend: What a user can do where it cannot be written; what a run's user can do if None.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with atomic_file(path, mend) as file:
        file.write(content)


def explain(error: OSError, path: Path, mend: Mend | None = None) -> str:
    """Says in one line why a file cannot be written, and what to do.

    Args:
        error: What the operating system said.
        path: The file or folder.
        mend: What a user can do; what a run's user can do if None.
    """
    if mend is None:
        # A run that is asked how far it is was started by a comparison, whose user has no other options than that.
        mend = COMPARISON if VARIABLE in os.environ else RUN
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left to write {path}: {mend.no_space}"
    return f"cannot write {path} ({error.strerror}): {mend.refused}"
