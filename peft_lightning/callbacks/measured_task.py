"""The task that a module is trained for, which says what its metrics are."""

from lightning.pytorch import LightningModule

from peft_lightning.task import Task


def task_of(pl_module: LightningModule) -> Task:
    """Returns the task.

    Args:
        pl_module: The module, built.
    """
    task: Task = pl_module.task  # type: ignore[assignment]
    return task
