"""Writing files so that a reader, or a resumed run, finds the old content or the new, never half of one."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from peft_lightning.errors import UserError


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary neighbour of a file for writing, and puts it in the file's place when all is on disk.

    Args:
        path: The file to write.

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
        temporary.unlink(missing_ok=True)
        raise UserError(explain(error, path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step.

    Args:
        path: The file.
        content: Its new content.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content)


def explain(error: OSError, path: Path) -> str:
    """Says in one line why a file cannot be written, and what to do.

    Args:
        error: What the operating system said.
        path: The file or folder.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no space left to write {path}: free some, then go on with --ckpt_path last"
            " or run with another --trainer.default_root_dir"
        )
    return f"cannot write {path} ({error.strerror}): choose another folder with --trainer.default_root_dir"
