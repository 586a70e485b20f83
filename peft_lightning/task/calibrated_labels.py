"""What classes and labels share: a temperature of their logits and thresholds of their probabilities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from peft_lightning.task.base import Array, Targets, Task
from peft_lightning.task.calibration import Calibration, CalibrationSettings, Fitted, ThresholdMetric
from peft_lightning.task.temperature import Floats, fit_temperature

if TYPE_CHECKING:
    from torch import Tensor

# Of 100 rows that a model answers right nine times in ten, the temperature varies by a quarter from one draw to the
# next; of 300 by 11 %, of 1,000 by 7 % (two classes, simulated).
_FEW_ROWS = 100


class CalibratedLabels(Task):
    """A task whose answers are probabilities; subclasses are dataclasses with a field ``calibration``."""

    @property
    def _temperature(self) -> float:
        calibration = self.calibration
        return 1.0 if calibration is None or calibration.temperature is None else calibration.temperature

    def tempered(self, logits: Tensor) -> Tensor:
        """Returns logits divided by the temperature; without one they are returned as they are.

        Args:
            logits: The model's outputs, shape (batch, outputs).
        """
        return logits if self._temperature == 1.0 else logits / self._temperature

    @property
    def scaling(self) -> Callable[[Tensor], Tensor] | None:
        """Divides logits by the temperature in 64 bits, in which no two of them become equal; None without one."""
        temperature = self._temperature
        return None if temperature == 1.0 else lambda logits: logits.double() / temperature

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """The fitted probabilities above which a class or label is answered; None where none were fitted."""
        return None if self.calibration is None else self.calibration.thresholds

    def calibrated(self, calibration: Calibration | None) -> Self:
        """Returns the task with answers that follow a calibration."""
        given: dict[str, Any] = {"calibration": calibration}
        return replace(self, **given)  # type: ignore[type-var]

    def fit_calibration(self, asked: CalibrationSettings, logits: Array, targets: Targets) -> Fitted:
        """Fits the temperature by the log loss, then the thresholds on the probabilities that it gives."""
        import torch

        notes = []
        if len(logits) < _FEW_ROWS:
            notes.append(f"{len(logits)} validation rows are few to calibrate on: other rows would give other values")
        temperature = fit_temperature(self._slope(logits.astype(np.float64), targets)) if asked.temperature else None
        if asked.temperature and temperature is None:
            notes.append(
                "no temperature is best on these validation rows, of which all are answered right, or no better than by"
                " chance: it stays 1"
            )
            temperature = 1.0
        calibration = Calibration(temperature)
        if asked.thresholds is not None:
            answers = self.calibrated(calibration).answer(torch.from_numpy(logits)).numpy()
            thresholds, more = self._fit_thresholds(answers, targets, asked.thresholds)
            calibration, notes = Calibration(temperature, thresholds, asked.thresholds), [*notes, *more]
        return Fitted(calibration, tuple(notes))

    def calibration_in_words(self) -> list[str]:
        """Returns the temperature and the thresholds in words."""
        sentences = []
        if self.calibration is not None and self.calibration.temperature is not None:
            sentences.append(f"logits are divided by the temperature {self.calibration.temperature:.3f}")
        if thresholds := self.named_thresholds():
            shown = [f"{name} {value:.3f}" for name, value in thresholds.items()]
            more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
            sentences.append(f"answered above these probabilities: {', '.join(shown[:10])}{more}")
        return sentences

    @abstractmethod
    def _slope(self, logits: Floats, targets: Targets) -> Callable[[float], float]:
        """Returns the slope of the mean log loss in the inverse of the temperature."""

    @abstractmethod
    def _fit_thresholds(
        self, answers: npt.NDArray[np.float32], targets: Targets, metric: ThresholdMetric
    ) -> tuple[tuple[float, ...], list[str]]:
        """Returns the thresholds that are best by a metric, and notes on those that could not be chosen."""
