"""Checkpoint files: written atomically, read without executing code from them."""

import math
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO, TorchCheckpointIO

from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.runs.files import CannotWrite, atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file and renames it, so that a run killed while saving still has its last checkpoint."""

    announce: Callable[[Path], None] | None = None
    """Is called with the path of each checkpoint before it is written."""

    def __init__(self) -> None:
        self._wrote_s = (0.0, -math.inf)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: If the disk is full or the folder cannot be written; the old file is kept.
        """
        if self.announce is not None:
            self.announce(Path(path))
        self._save(checkpoint, Path(path))

    def is_writing(self, path: Path) -> bool:
        """Tells whether a saved checkpoint may not be on disk yet; here all are."""
        return False

    def is_free(self, share: float) -> bool:
        """Tells whether one more write now would keep writing within its share of the time.

        Args:
            share: Share of the time since the last write began that writing may take, above 0.
        """
        took_s, ended_s = self._wrote_s
        return monotonic() >= ended_s + took_s * (1 / share - 1)

    def settle(self) -> None:
        """Waits until all saved checkpoints are on disk; here they always are."""

    def _save(self, checkpoint: dict[str, Any], path: Path) -> None:
        self._write(checkpoint, path)

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        began_s = monotonic()
        self._put(checkpoint, path)
        ended_s = monotonic()
        self._wrote_s = (ended_s - began_s, ended_s)

    def _put(self, checkpoint: dict[str, Any], path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite.because(error, path) from error
        with atomic_file(path) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # After a failed write torch closes its archive, and the error of that hides why the write failed.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint.

        Args:
            path: The file.
            map_location: The device of its tensors.
            weights_only: Ignored: always true, so no code in the file can run.

        Returns:
            The checkpoint.

        Raises:
            UserError: If the file is missing, truncated, of another program, or would have to run code.
        """
        return read_checkpoint(Path(path), map_location)


def settle(io: CheckpointIO) -> None:
    """Waits until all saved checkpoints are on disk, and raises no failure, so that a run ends for its own reason.

    Args:
        io: A Trainer's checkpoint plugin; nothing is done with a user's own.
    """
    if isinstance(io, AtomicCheckpointIO):
        io.settle()


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads the plain values and tensors of a checkpoint, without executing code from it.

    Args:
        path: The file.
        map_location: The device of its tensors.

    Returns:
        The checkpoint.

    Raises:
        UserError: If the file is missing, truncated, of another program, or would have to run code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint {path}: name a file, `best` or `last`")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no checkpoint, or is cut short: ", *_instead(path))
    try:
        # torch does not verify the checksums that it writes: a flipped bit would pass as a weight.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise UserError(f"{path} is damaged (a checksum differs): ", *_instead(path))
        content: Any = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds objects that would have to run code, which is refused: only checkpoints of this project load"
        ) from error
    except (RuntimeError, OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): ", *_instead(path)) from error
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("peft_lightning"), dict)
        or not isinstance(content.get("state_dict"), dict)
    ):
        raise UserError(f"{path} was not written by peft-lightning: only its own checkpoints can be loaded")
    return content


def _instead(path: Path) -> tuple[Part, ...]:
    """Suggests what to use instead of a checkpoint that cannot be read."""
    beside = [name for name in ("best.ckpt", "last.ckpt") if name != path.name and path.with_name(name).is_file()]
    if path.name == "last.ckpt":
        other = (", or test with ", Setting("ckpt_path", path.with_name(beside[0]))) if beside else ()
        return "train anew, without ", Setting("ckpt_path"), *other
    return (f"use {path.with_name(beside[0])} instead" if beside else "use another checkpoint",)
