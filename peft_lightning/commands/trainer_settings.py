"""What Lightning does not check of a Trainer's settings, and the words of what it refuses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft_lightning.errors import UserError

# What Lightning takes and then divides by, or takes for something else.
LEAST = {"accumulate_grad_batches": 1, "log_every_n_steps": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0}
# Settings of where and how a Trainer runs, which depend on the machine and on each other.
PLACING = ("accelerator", "devices", "num_nodes", "strategy", "precision")


def require_least(settings: Mapping[str, Any]) -> None:
    """Refuses numbers that are too small.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: If there is one.
    """
    for name, least in LEAST.items():
        if settings[name] is not None and settings[name] < least:
            raise UserError(f"trainer.{name} is {settings[name]}: it must be at least {least}")


@contextmanager
def wording_misfits(settings: Mapping[str, Any]) -> Iterator[None]:
    """Words what Lightning raises where a Trainer is made of settings that do not go together.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: If anything is raised inside, all of which is Lightning's.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        placing = {name: settings[name] for name in PLACING}
        stated = [f"--trainer.{name} {value}" for name, value in placing.items() if isinstance(value, str | int)]
        # Lightning's message mostly names its setting.
        which = "" if any(name in reason for name in dict(settings)) else f" ({', '.join(stated)})"
        raise UserError(
            f"these --trainer settings do not go together, or not on this machine{which}: {reason}"
        ) from error
