"""A run's directory, ``<root>/lightning_logs/<method>/version_N``: creates it, locks it, and names its files."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite

CHECKPOINTS = "checkpoints"
# The loader workers of a killed run hold its lock, which they inherited, until they notice within 5 s that their
# parent is gone.
LOCK_PATIENCE_S = 10.0


class RunDirectory:
    """The directory of one run; it has a path only after ``create``, ``open`` or ``join``.

    Args:
        root: The folder that holds ``lightning_logs``.
        method: The method's name, which is the folder above the versions.
    """

    def __init__(self, root: Path, method: str) -> None:
        self.runs = root / "lightning_logs" / method
        self._path: Path | None = None
        self._lock: FileLock | None = None

    @property
    def path(self) -> Path:
        """The run's directory."""
        if self._path is None:
            raise RuntimeError("the run directory is neither created nor opened yet")
        return self._path

    @property
    def version(self) -> int:
        """The number of the run among the runs of its method."""
        return int(self.path.name.removeprefix("version_"))

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def results(self) -> Path:
        """The run record."""
        return self.path / "results.json"

    @property
    def has_record(self) -> bool:
        """Whether there is a record: a run that can be resumed or has finished."""
        return self._path is not None and self.results.is_file()

    @property
    def history(self) -> Path:
        """The CSV file of losses and metrics by step."""
        return self.path / "history.csv"

    @property
    def elsewhere(self) -> Path:
        """The list of what the user's own callbacks and loggers write."""
        return self.path / "elsewhere.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def best(self) -> Path:
        """The checkpoint that was best on the validation split."""
        return checkpoint_of(self.path, "best")

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return checkpoint_of(self.path, "last")

    def create(self) -> None:
        """Makes the next free version's directory and locks it.

        Raises:
            UserError: If it cannot be written.
        """
        try:
            self.runs.mkdir(parents=True, exist_ok=True)
            version = max((number for number, _ in versions_in(self.runs)), default=-1) + 1
            while self._path is None:
                candidate = self.runs / f"version_{version}"
                try:
                    candidate.mkdir()
                except FileExistsError:  # another run has just taken it
                    version += 1
                else:
                    self._path = candidate
            self.checkpoints.mkdir()
        except OSError as error:
            raise CannotWrite.because(error, self.runs) from error
        self.hold()

    def open(self, path: Path) -> None:
        """Uses an existing run's directory and locks it.

        Raises:
            UserError: If another process is still running in it.
        """
        self._path = path
        self.hold()
        self.checkpoints.mkdir(exist_ok=True)

    def join(self, path: Path) -> None:
        """Uses the directory that another process of the same run has locked."""
        self._path = path

    def hold(self) -> None:
        """Locks the directory for as long as this process lives; the lock of a killed process is released.

        Raises:
            UserError: If another process holds it.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0.01)
        except Timeout:
            try:
                lock.acquire(timeout=LOCK_PATIENCE_S)
            except Timeout:
                raise UserError(f"{self.path} is still running in another process: wait for it or stop it") from None
        except OSError as error:
            raise CannotWrite.because(error, self.path) from error
        self._lock = lock

    def release(self) -> None:
        """Unlocks the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def append_only_files(self) -> Iterator[Path]:
        """Yields the files that a run only ever appends to: TensorBoard's events and the history."""
        yield from sorted(self.path.glob("events.out.tfevents.*"))
        if self.history.exists():
            yield self.history


def check_can_be_made(folder: Path) -> None:
    """Checks, before anything is computed, that a folder exists or can be made; nothing is changed.

    Raises:
        UserError: If the folder, or the nearest folder above it, cannot be written.
    """
    above = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
    reason = errno.EACCES if above.is_dir() else errno.ENOTDIR
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise CannotWrite(folder, os.strerror(reason))


def checkpoint_of(run: Path, name: str) -> Path:
    """Returns the file of a run's ``best`` or ``last`` checkpoint, whether it exists or not."""
    return run / CHECKPOINTS / f"{name}.ckpt"


def versions_in(runs: Path) -> list[tuple[int, Path]]:
    """Lists the directories of a method's runs.

    Args:
        runs: The folder of the method's runs.

    Returns:
        Numbers and directories, the newest first.
    """
    found = []
    for path in runs.glob("version_*"):
        number = path.name.removeprefix("version_")
        if number.isdecimal():
            found.append((int(number), path))
    return sorted(found, reverse=True)
