"""The task of a module, which defines its metrics."""

from lightning.pytorch import LightningModule

from peft_lightning.task import Task


def task_of(pl_module: LightningModule) -> Task:
    """Returns the task.

    Args:
        pl_module: The module, after its model is built.
    """
    task: Task = pl_module.task  # type: ignore[assignment]
    return task
