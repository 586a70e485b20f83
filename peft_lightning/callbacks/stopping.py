"""Early stopping as a setting: Lightning's callback, with the monitor and the direction that the task knows."""

from lightning.pytorch.callbacks import EarlyStopping

from peft_lightning.task import Task


class TaskEarlyStopping(EarlyStopping):
    """Ends training after some validations without a better value; the best checkpoint is tested as ever.

    A validation that leaves the metric undefined is one without a better value.

    Args:
        patience: Number of validations in a row without a better value.
        monitor: The metric; None for the one that chooses the best checkpoint.
        min_delta: By how much a value must be better to count.
    """

    def __init__(self, patience: int, monitor: str | None = None, min_delta: float = 0.0) -> None:
        self._asked = monitor
        # Which metric it is, and which direction is better, is known with the data's task.
        super().__init__(monitor or "val/loss", min_delta=min_delta, patience=patience, check_finite=False)

    def follow(self, task: Task, chooses: str | None) -> None:
        """Sets the metric and its direction, before the first step.

        Args:
            task: The task of the data.
            chooses: The metric that chooses the best checkpoint; None for the task's headline.
        """
        monitor = self._asked or chooses or task.headline.validation
        mode = "max" if task.metric(monitor).higher_is_better else "min"
        super().__init__(monitor, min_delta=abs(self.min_delta), patience=self.patience, mode=mode, check_finite=False)
