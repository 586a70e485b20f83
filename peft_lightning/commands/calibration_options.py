"""The settings of what is fitted on the validation split after training, which are part of a run's configuration."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.commands.setting_names import CALIBRATION
from peft_lightning.task.calibration import CalibrationSettings, ThresholdMetric


def add_calibration_options(parser: LightningArgumentParser) -> None:
    """Adds ``--calibration.temperature`` and ``--calibration.thresholds``."""
    parser.add_argument(
        f"--{CALIBRATION}.temperature",
        type=bool,
        default=False,
        help="After training, fit the temperature that divides the best checkpoint's logits to the lowest log loss on"
        " the validation rows (Guo et al. 2017): probabilities become chances, and no decision changes.",
    )
    parser.add_argument(
        f"--{CALIBRATION}.thresholds",
        type=ThresholdMetric | None,
        default=None,
        help="After training, choose on the validation rows the probability above which the second of two classes, or"
        " each of several labels, is answered, by this metric: acc, balanced_acc, f1 (of two classes the mean of both,"
        " of a label its own) or mcc; not given, it is a half.",
    )


def calibration_settings(config: Mapping[str, Any]) -> CalibrationSettings:
    """Returns what a run's configuration asks to be fitted; nothing where it is older than the settings.

    Args:
        config: The resolved configuration.
    """
    section = config.get(CALIBRATION) or {}
    return CalibrationSettings(bool(section.get("temperature")), section.get("thresholds"))
