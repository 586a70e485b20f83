"""The settings of early stopping, which are part of a run's configuration."""

from collections.abc import Mapping
from typing import Any

from jsonargparse.typing import NonNegativeFloat, PositiveInt
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.callbacks.stopping import TaskEarlyStopping
from peft_lightning.commands.setting_names import EARLY_STOPPING
from peft_lightning.errors import Setting, UserError


def add_stopping_options(parser: LightningArgumentParser) -> None:
    """Adds ``--early_stopping.patience``, ``.monitor`` and ``.min_delta``."""
    parser.add_argument(
        f"--{EARLY_STOPPING}.patience",
        type=PositiveInt | None,
        default=None,
        help="Validations in a row without a better value after which training ends; not given, it never ends early.",
    )
    parser.add_argument(
        f"--{EARLY_STOPPING}.monitor",
        type=str | None,
        default=None,
        help="The metric that has to get better, such as val/mcc; by default the one that chooses the best checkpoint.",
    )
    parser.add_argument(
        f"--{EARLY_STOPPING}.min_delta",
        type=NonNegativeFloat,
        default=0.0,
        help="By how much it has to be better.",
    )


def early_stopping(settings: Mapping[str, Any]) -> list[TaskEarlyStopping]:
    """Makes the callback that the settings ask for; none without a patience.

    Args:
        settings: The settings by name.

    Raises:
        UserError: If there is a monitor or a least difference without a patience.
    """
    patience, monitor, least = (settings[name] for name in ("patience", "monitor", "min_delta"))
    if patience is not None:
        # Checkpoints hold plain numbers, not those of the parser.
        return [TaskEarlyStopping(int(patience), monitor, float(least))]
    if monitor is not None or least:
        raise UserError(
            "early_stopping has no patience, so training never ends early: say after how many validations, ",
            Setting(f"{EARLY_STOPPING}.patience", 2),
        )
    return []
