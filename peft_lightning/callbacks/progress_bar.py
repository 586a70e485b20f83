"""Chooses how progress is shown: a bar in a terminal or a notebook, plain lines in a log or a pipe."""

import sys
from collections.abc import Sequence

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from rich.console import Console

from peft_lightning.callbacks.progress_lines import ProgressLines


class EpochBar(RichProgressBar):
    """Lightning's bar, which counts the epochs from 1 instead of 0: the last of two is 2/2."""

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        of = f"/{epochs}" if epochs is not None and epochs > 0 else ""
        # As wide as the bar of the validation below it, so that neither moves.
        return f"Epoch {current_epoch + 1}{of}".ljust(len(self.validation_description))


def progress_shown(callbacks: Sequence[Callback]) -> list[ProgressBar]:
    """Returns the callback that shows progress; nothing if the user has added a progress bar.

    Args:
        callbacks: The Trainer's other callbacks.
    """
    if any(isinstance(callback, ProgressBar) for callback in callbacks):
        return []
    console = Console()
    # Rich writes to a file only when the bar ends, which may be hours later.
    drawn = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    return [EpochBar() if drawn or console.is_jupyter else ProgressLines()]
