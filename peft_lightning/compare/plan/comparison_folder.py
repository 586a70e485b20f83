"""The folder of a comparison: made under a name of its own, and locked by one process at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from peft_lightning.compare.plan.folder_names import LONGEST_SHOWN, name_problem
from peft_lightning.compare.plan.plan import FILE
from peft_lightning.compare.plan.sweep import FILE as SWEEP
from peft_lightning.compare.plan.sweep import holds_comparison
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite, write_atomically

ROOT = Path("lightning_logs/compare")
NO_TEXTS = "no_texts.txt"
# Where the runs lie, and the tries of learning rates.
_TRAINING = ("runs", "tuning")


def new_folder(name: str | None, root: Path = ROOT) -> Path:
    """Makes the folder of a new comparison.

    Args:
        name: The user's name for it; None for the first free ``comparison_N``.
        root: The folder of all comparisons.

    Raises:
        UserError: If the name cannot be a folder's, or the folder cannot be made.
    """
    _check_name(name, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if name is not None:
            (root / name).mkdir(exist_ok=True)
            return root / name
        number = 0
        while True:
            try:
                (root / f"comparison_{number}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return root / f"comparison_{number}"
    except FileExistsError as error:
        raise UserError(f"{error.filename} is a file: choose another --name") from error
    except OSError as error:
        raise UserError(f"cannot make {error.filename} ({error.strerror}): free space, or go elsewhere") from error


def folder_for(name: str | None, root: Path = ROOT) -> Path:
    """Returns the folder that ``new_folder`` would make, and makes nothing.

    Args:
        name: The user's name for it; None for the first free ``comparison_N``.
        root: The folder of all comparisons.

    Raises:
        UserError: If the name cannot be a folder's, or is that of a comparison.
    """
    _check_name(name, root)
    if name is None:
        return next(root / f"comparison_{number}" for number in count() if not (root / f"comparison_{number}").exists())
    if holds_comparison(root / name):
        raise UserError(
            f"{root / name} already holds a comparison: go on with --resume {root / name}, or choose another --name"
        )
    return root / name


def _check_name(name: str | None, root: Path) -> None:
    if name is not None and (problem := name_problem(name)) is not None:
        shown = repr(name) if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]!r}…"
        raise UserError(
            f"--name {shown} is no name for a folder, it {problem}: say --name mine, which makes {root}/mine"
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locks a comparison's folder. The lock of a killed process ends with it.

    Raises:
        UserError: If another process has locked it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0.01)
    except Timeout:
        raise UserError(f"{folder} is being worked on by another compare: wait for it or stop it") from None
    except OSError as error:
        raise CannotWrite.because(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def check_is_comparison(folder: Path) -> None:
    """Checks that a folder holds a comparison, before anything is written into it.

    Raises:
        UserError: If it holds none.
    """
    if not holds_comparison(folder):
        begun = sorted({str(path.parent) for name in (FILE, SWEEP) for path in ROOT.glob(f"*/{name}")})
        known = f"here are {', '.join(begun)}" if begun else f"name its folder, {ROOT}/NAME, from where it was begun"
        raise UserError(f"--resume {folder}: there is no comparison; {known}")


def keep_texts_out(folder: Path) -> None:
    """Writes into a comparison's folder that no report of it may show texts of reviews.

    Raises:
        UserError: If it cannot be written.
    """
    note = b"The report of this comparison shows no texts of reviews (--no_texts); delete this file to change that.\n"
    write_atomically(folder / NO_TEXTS, note)


def texts_allowed(folder: Path) -> bool:
    """Returns whether a comparison's report may show texts of reviews."""
    return not (folder / NO_TEXTS).exists()


def begun(folder: Path) -> bool:
    """Returns whether anything of a comparison beside the forecast has begun."""
    return any((folder / part).exists() for part in _TRAINING)


def has_trained(folder: Path) -> bool:
    """Returns whether a run of a comparison, or a try of a learning rate, has begun to train."""
    return any(any((folder / part).rglob("results.json")) for part in _TRAINING)


def forget(folder: Path) -> None:
    """Removes the files of a comparison that has not trained, so that its name is free. Other files are kept."""
    for name in (SWEEP, FILE, NO_TEXTS, "tuning.json", "forecast.json", ".lock"):
        (folder / name).unlink(missing_ok=True)
    for name in ("forecast", *_TRAINING):
        shutil.rmtree(folder / name, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()
