"""What is fitted on the validation split after training: a temperature, and the thresholds of decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

# What a threshold may be chosen by: keys of metrics.
ThresholdMetric = Literal["acc", "balanced_acc", "f1", "mcc"]
THRESHOLD_METRICS: tuple[ThresholdMetric, ...] = get_args(ThresholdMetric)


@dataclass(frozen=True)
class CalibrationSettings:
    """What a user asks to be fitted.

    Args:
        temperature: Whether to fit a temperature.
        thresholds: The metric that thresholds are chosen by; None for none.
    """

    temperature: bool = False
    thresholds: ThresholdMetric | None = None

    def __bool__(self) -> bool:
        """Tells whether anything is asked for."""
        return self.temperature or self.thresholds is not None


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Args:
        temperature: What logits are divided by before they become probabilities (Guo et al. 2017, arXiv:1706.04599);
            None if none was fitted.
        thresholds: Of two classes, the probability of the second one above which it is answered, one number; of several
            labels, that of each. Each is a 32-bit float, as probabilities are. None if none were fitted.
        metric: The key of the metric that the thresholds were chosen by.
    """

    temperature: float | None = None
    thresholds: tuple[float, ...] | None = None
    metric: str | None = None

    def state(self) -> dict[str, Any]:
        """Returns the values for a checkpoint, in plain values."""
        thresholds = None if self.thresholds is None else list(self.thresholds)
        return {"temperature": self.temperature, "thresholds": thresholds, "metric": self.metric}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Calibration:
        """Restores what was fitted.

        Args:
            state: What ``state`` returned.

        Raises:
            KeyError: If a value is missing.
        """
        thresholds = state["thresholds"]
        return cls(state["temperature"], None if thresholds is None else tuple(thresholds), state["metric"])


@dataclass(frozen=True)
class Fitted:
    """A calibration, and what its user has to know.

    Args:
        calibration: What was fitted.
        notes: What could not be fitted, a sentence each.
    """

    calibration: Calibration
    notes: tuple[str, ...] = ()
