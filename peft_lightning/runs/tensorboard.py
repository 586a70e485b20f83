"""The TensorBoard logger, which writes into the run's own directory."""

from argparse import Namespace
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from peft_lightning.runs.directory import RunDirectory


class RunTensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger in the directory of a run.

    Args:
        run: The run; its directory may be made after the logger.
    """

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(save_dir=run.runs.parent, name=run.runs.name, default_hp_metric=False)
        self._run = run

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return str(self._run.path)

    @property
    def version(self) -> int:
        """The run's version."""
        return self._run.version

    @rank_zero_only
    def save(self) -> None:
        """Flushes what is logged so far; writes no ``hparams.yaml``, because ``config.yaml`` holds the settings."""
        if self._experiment is not None:
            self._experiment.flush()

    @rank_zero_only
    def log_hyperparams(
        self,
        params: dict[str, Any] | Namespace,
        metrics: dict[str, Any] | None = None,
        step: int | None = None,
    ) -> None:
        """Fills the HPARAMS tab, once the run's metrics are known.

        Args:
            params: The settings shown.
            metrics: The figures of the finished run; without them nothing is written.
            step: The optimiser step at which they were measured.
        """
        if metrics:
            super().log_hyperparams(params, metrics, step)
