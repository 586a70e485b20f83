"""Checkpoint files that a background thread writes while the GPU trains."""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO
from peft_lightning.runs.host_copies import HostCopies
from peft_lightning.runs.host_memory import available_memory

# A validation saves best.ckpt and last.ckpt one after the other.
_MOST_WAITING = 2


class BackgroundCheckpointIO(AtomicCheckpointIO):
    """Copies a checkpoint to the host's memory, and writes it in a thread.

    Full fine-tuning saves 1.5 GB at roberta-base size. Without a thread, a run waited two seconds for that on an H100's
    host. With one it waits a third of a second to a whole one, depending on the host, for the first copy; later copies
    use its memory again. Lightning's ``AsyncCheckpointIO`` copies within the GPU's memory, and queues any number of
    copies.

    If the host has no room for a copy, the checkpoint is written at once. An error in the thread is raised when the run
    next saves, reads or removes a checkpoint, or ends. Checkpoints queued after the failed one are not written: a
    ``last.ckpt`` that states the best score must not replace an older one if ``best.ckpt`` could not be written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[Path, Future[None]]] = deque()
        self._copies = HostCopies()
        self._failure: BaseException | None = None

    def is_free(self, share: float) -> bool:
        """Tells whether nothing is being written, and one more write now keeps writing within its share of the time.

        Args:
            share: Share of the time since the last write began that writing may take, above 0.
        """
        return all(writing.done() for _, writing in self._waiting) and super().is_free(share)

    def is_writing(self, path: Path) -> bool:
        """Tells whether a saved checkpoint may not be on disk yet."""
        return any(written == path and not writing.done() for written, writing in self._waiting)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint once it is written; checkpoints saved after it may still be in writing.

        Args:
            path: The file.
            map_location: The device of its tensors.
            weights_only: Ignored: always true.

        Returns:
            The checkpoint.

        Raises:
            UserError: If a checkpoint could not be written, or this one cannot be read.
        """
        for written, writing in self._waiting:
            if written == Path(path):
                writing.result()
        if self._failure is not None:
            self._wait()
        return super().load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint once all saved checkpoints are written.

        Raises:
            UserError: If a checkpoint could not be written.
        """
        self._wait()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        """Waits until all checkpoints are written, and frees the copies' memory.

        Raises:
            UserError: If a checkpoint could not be written.
        """
        try:
            self._wait()
        finally:
            self._copies.forget()

    def settle(self) -> None:
        """Waits until all is written, and prints a failure instead of raising it: a run ends for its own reason."""
        try:
            self._wait()
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"peft_lightning: a checkpoint was not written: {reason}", file=sys.stderr, flush=True)

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
        """Waits until all checkpoints are written, and raises the thread's error."""
        if self._thread is not None:
            # The thread works in order, so this ends after all writes. An interrupt here loses no write.
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
        """Writes a checkpoint in the thread, unless an earlier write failed."""
        if self._failure is not None:
            return
        try:
            self._write(checkpoint, path)
            self._copies.take_back(checkpoint)
        except BaseException as error:
            self._failure = error


def _nothing() -> None:
    pass
