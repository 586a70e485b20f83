"""Lays a comparison out in its folder, so that it can be resumed however early it is killed, and locks the folder."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from peft_lightning.compare.plan.comparison_folder import NO_TEXTS, begun, held, keep_texts_out
from peft_lightning.compare.plan.plan import FILE, Plan
from peft_lightning.compare.plan.sweep import FILE as SWEEP
from peft_lightning.compare.plan.sweep import Part, Sweep
from peft_lightning.compare.stages.tuning import FILE as TUNING
from peft_lightning.compare.stages.tuning import Tuning
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite


@contextmanager
def all_held(folder: Path, parts: Sequence[Part]) -> Iterator[None]:
    """Locks a comparison's folder, and those of a sweep's values, at which somebody else may go on.

    Args:
        folder: The folder of the whole, which is made if it is not there.
        parts: Its comparisons, whose folders are made too.

    Raises:
        UserError: If a folder cannot be made, or somebody else holds it.
    """
    with ExitStack() as locks:
        for place in dict.fromkeys([folder, *(part.folder for part in parts)]):
            _make(place)
            locks.enter_context(held(place))
        yield


def lay_out(plan: Plan, folder: Path, tuning: Tuning | None, texts: bool = True) -> None:
    """Writes the plan into the folder, so that a comparison that is killed afterwards can be resumed.

    Args:
        plan: The comparison.
        folder: Its folder.
        tuning: Learning rates to try for each recipe; None to train with the recipes' own.
        texts: Whether the report may show texts of reviews.

    Raises:
        UserError: If the folder already holds a comparison, or cannot be written.
    """
    _check_holds_none(folder)
    if not (folder / FILE).exists():
        if begun(folder):
            raise UserError(f"{folder} holds runs, but no plan that asked for them: choose another --name or remove it")
        # These are written before the plan, because the plan makes the folder a comparison: it is tuned from the start
        # or never. What a comparison that was killed before its plan has left here does not count.
        for name in (TUNING, NO_TEXTS):
            (folder / name).unlink(missing_ok=True)
        if not texts:
            keep_texts_out(folder)
        if tuning is not None:
            tuning.write(folder)
    plan.write(folder)


def lay_out_sweep(
    sweep: Sweep, parts: Sequence[Part], folder: Path, tunings: Sequence[Tuning | None], texts: bool = True
) -> None:
    """Writes the plans of a sweep, and at last the sweep, which makes them one.

    Args:
        sweep: The sweep.
        parts: Its comparisons.
        folder: Its folder.
        tunings: For each value, learning rates to try for each recipe; None to train with the recipes' own.
        texts: Whether the reports may show texts of reviews.

    Raises:
        UserError: If the folder already holds a comparison, or cannot be written.
    """
    _check_holds_none(folder)
    if (folder / FILE).exists():
        raise _taken(folder)
    for part, tuning in zip(parts, tunings, strict=True):
        # Killed while it was laid out, a sweep has left plans and no sweep; they do not count.
        if not begun(part.folder):
            (part.folder / FILE).unlink(missing_ok=True)
        lay_out(part.plan, part.folder, tuning, texts)
    (folder / NO_TEXTS).unlink(missing_ok=True)
    if not texts:
        keep_texts_out(folder)
    sweep.write(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{folder} is a file: choose another --name") from error
    except OSError as error:
        raise CannotWrite.because(error, folder) from error


def _check_holds_none(folder: Path) -> None:
    if (folder / SWEEP).exists():
        raise _taken(folder)


def _taken(folder: Path) -> UserError:
    return UserError(f"{folder} already holds a comparison: go on with --resume {folder}, or choose another --name")
