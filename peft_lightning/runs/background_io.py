"""Checkpoints that are written while a GPU goes on training."""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.runs.host_copies import HostCopies
from peft_lightning.runs.host_memory import available_memory

# The best weights and all that is needed to go on are saved one after the other.
_MOST_WAITING = 2


class BackgroundCheckpointIO(AtomicCheckpointIO):
    """Copies what is to be saved to the host's memory, and writes it in a thread.

    Full fine-tuning saves 1.5 GB at roberta-base size: a run waited two seconds for it on an H100's host, and waits a
    third of a second to a whole one, by the host, for the first copy, whose memory later ones use again. Lightning's
    `AsyncCheckpointIO` copies within the GPU's memory, and takes on any number of copies.

    Where the host has no room for a copy it is written at once. What goes wrong in the thread is raised where the run
    next saves, reads or removes a checkpoint, or ends. What waits behind it is not written: a last checkpoint that says
    how good the best one is must not replace the one before it when the best one could not be written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[Path, Future[None]]] = deque()
        self._copies = HostCopies()
        self._failure: BaseException | None = None

    def is_free(self, share: float) -> bool:
        """Tells whether nothing is being written, and another writing now would leave writing its share of the time.

        Args:
            share: Of the time from the beginning of the last writing on, above 0.
        """
        return all(writing.done() for _, writing in self._waiting) and super().is_free(share)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint, once it is written; what was saved after it may still be being written.

        Args:
            path: The file.
            map_location: Where its tensors go.
            weights_only: Not asked: it is always so.

        Returns:
            What was saved.

        Raises:
            UserError: If one could not be written, or this one not be read.
        """
        for written, writing in self._waiting:
            if written == Path(path):
                writing.result()
        if self._failure is not None:
            self._wait()
        return super().load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint, once all that was saved is written.

        Args:
            path: The file.

        Raises:
            UserError: If one could not be written.
        """
        self._wait()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        """Waits until all is written, and gives the copies' memory back.

        Raises:
            UserError: If something could not be.
        """
        try:
            self._wait()
        finally:
            self._copies.forget()

    def settle(self) -> None:
        """Waits until all is written, and says in a line what could not be, so that a run ends for its own reason."""
        try:
            self._wait()
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            print(f"peft_lightning: a checkpoint was not written: {said}", file=sys.stderr, flush=True)

    def _save(self, checkpoint: dict[str, Any], path: Path) -> None:
        while self._waiting and (len(self._waiting) >= _MOST_WAITING or self._waiting[0][1].done()):
            self._waiting[0][1].result()
            self._waiting.popleft()
        if self._failure is not None:
            self._wait()
        if self._copies.bytes_missing(checkpoint) > available_memory() / 2:
            self._wait()
            self._copies.forget()
            self._write(checkpoint, path)
            return
        copied = self._copies.copy(checkpoint)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._waiting.append((path, self._thread.submit(self._write_in_turn, copied, path)))

    def _wait(self) -> None:
        """Waits until all is written, and raises what went wrong."""
        if self._thread is not None:
            # The thread does one thing after the other. What interrupts this line loses nothing.
            self._thread.submit(_nothing).result()
            thread, self._thread = self._thread, None
            thread.shutdown()
        self._waiting.clear()
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None

    def _write_in_turn(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Writes, unless something before it could not be written; all that the thread does."""
        if self._failure is not None:
            return
        try:
            self._write(checkpoint, path)
            self._copies.take_back(checkpoint)
        except BaseException as error:
            self._failure = error


def _nothing() -> None:
    pass
