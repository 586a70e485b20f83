"""Error messages for users of the command line: mends that fit a single run or a comparison."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.runs.files import CannotWrite, Mend
from peft_lightning.runs.progress import VARIABLE

_RUN = Mend(
    no_space=(
        "free some, then go on with ",
        Setting("ckpt_path", "last"),
        " or run with another ",
        Setting("trainer.default_root_dir"),
    ),
    refused=("choose another folder with ", Setting("trainer.default_root_dir")),
)
# A comparison's folder is lightning_logs/compare/NAME in the working directory, and its runs are in it.
COMPARISON = Mend(
    no_space=("free some, then go on with --resume",),
    refused=("make its folder writable, then go on with --resume, or begin it elsewhere",),
)


def run_mend() -> Mend:
    """Returns what a user can do if a run cannot write."""
    return COMPARISON if _is_compared() else _RUN


def going_on() -> Part:
    """Returns with what a run goes on that has ended before its time."""
    return "--resume" if _is_compared() else Setting("ckpt_path", "last")


def _is_compared() -> bool:
    # Only a comparison asks its runs for their progress. Its user has the options of compare, not those of fit.
    return VARIABLE in os.environ


@contextmanager
def mending(mend: Mend) -> Iterator[None]:
    """Adds a mend to a ``CannotWrite`` that is raised inside."""
    try:
        yield
    except CannotWrite as error:
        raise error.mended(mend) from error


def in_words_of_a_run(error: BaseException) -> str:
    """Returns an error's message for the run's record, with settings as flags."""
    if isinstance(error, CannotWrite):
        error = error.mended(run_mend())
    return error.worded(Setting.as_flag) if isinstance(error, UserError) else str(error)
