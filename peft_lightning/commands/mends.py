"""What goes wrong in a run, in the words of the command line, whose user may have started a comparison instead."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from peft_lightning.errors import Setting, UserError
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
# Its folder is lightning_logs/compare/NAME in the working directory, and its runs lie in there.
COMPARISON = Mend(
    no_space=("free some, then go on with --resume",),
    refused=("make its folder writable, then go on with --resume, or begin it elsewhere",),
)


def run_mend() -> Mend:
    """Returns what the user of a run can do where it cannot write."""
    # A run that is asked how far it is was started by a comparison, whose user has no other options than that.
    return COMPARISON if VARIABLE in os.environ else _RUN


@contextmanager
def mending(mend: Mend) -> Iterator[None]:
    """Says what to do where something inside cannot be written.

    Args:
        mend: What the user of the command can do.
    """
    try:
        yield
    except CannotWrite as error:
        raise error.mended(mend) from error


def in_words_of_a_run(error: BaseException) -> str:
    """Returns what an error says to the user of a run, for the run's record.

    Args:
        error: Any error.
    """
    if isinstance(error, CannotWrite):
        error = error.mended(run_mend())
    return error.worded(Setting.as_flag) if isinstance(error, UserError) else str(error)
