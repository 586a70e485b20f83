"""What the machines of a cluster must share: the folders of the runs, in which all see what one has written."""

import os
import tempfile
import time
from pathlib import Path

from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite

# Seconds until what a node has written must be seen here: NFS keeps what it knows of a folder for up to a minute.
VISIBLE_AFTER_S = 90.0
# A run that its cluster has ended so often in a row, before it wrote a further checkpoint, is not started again.
MOST_IN_VAIN = 3
LOOK_EVERY_S = 0.5


class SharedFolder:
    """A job's folder, written on a node and read here.

    Args:
        folder: The folder.
        start: The name of the file in which the node writes its own name before anything else.
    """

    def __init__(self, folder: Path, start: str) -> None:
        self._folder, self._start = folder, folder / start
        self._in_vain = 0
        self._checkpoint = self._last_checkpoint()

    @property
    def start(self) -> Path:
        """The file in which the node writes its own name."""
        return self._start.absolute()

    def forget_start(self) -> None:
        """Removes what an earlier attempt wrote there."""
        try:
            self._start.unlink(missing_ok=True)
        except OSError as error:
            raise CannotWrite.because(error, self._folder) from error

    def started(self) -> bool:
        """Tells whether a node has written there."""
        return self._start.exists()

    def await_start(self, whose: str) -> None:
        """Waits until what the node of a job that has ended wrote is seen here.

        Args:
            whose: The cluster, as in ``SLURM's``.

        Raises:
            UserError: It is not seen in time.
        """
        until = time.monotonic() + VISIBLE_AFTER_S
        while not self._start.exists():
            os.listdir(self._folder)  # makes NFS look again
            if time.monotonic() >= until:
                raise UserError(
                    f"what {whose} nodes write into {self._folder.absolute()} is not seen here within"
                    f" {VISIBLE_AFTER_S:.0f} s: run compare in a directory that the nodes share"
                )
            time.sleep(LOOK_EVERY_S)

    def may_go_on(self) -> bool:
        """Counts an end that was not the run's own; tells whether the run has got on since the last ones."""
        before, self._checkpoint = self._checkpoint, self._last_checkpoint()
        self._in_vain = self._in_vain + 1 if self._checkpoint == before else 0
        return self._in_vain < MOST_IN_VAIN

    def _last_checkpoint(self) -> tuple[Path, int] | None:
        """Returns what changes with every checkpoint."""
        run = newest_run(self._folder)
        try:
            return (run, (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns) if run is not None else None
        except OSError:
            return None


def check_renames(folder: Path) -> None:
    """Checks that files can be replaced in a folder, whole or not at all, as every file of a run is written.

    Raises:
        UserError: If they cannot.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".peft_lightning_", dir=folder) as scratch:
            before, after = Path(scratch) / "before", Path(scratch) / "after"
            after.write_text("before")
            before.write_text("after")
            before.replace(after)
            replaced = after.read_text() == "after" and not before.exists()
    except OSError as error:
        raise UserError(
            f"files cannot be replaced in {folder} ({error.strerror}): run compare in a directory that the nodes share"
        ) from error
    if not replaced:
        raise UserError(f"files are not replaced at once in {folder}: run compare on another file system")
