"""Logs an evaluation's metrics: those that the task shows in the progress bar too, and every one at its own step."""

from collections.abc import Mapping

from lightning.pytorch import LightningModule
from torch import Tensor
from torch import distributed as dist

from peft_lightning.task import Task, recorded
from peft_lightning.task.metric import LOSS


def log_metrics(module: LightningModule, task: Task, metrics: Mapping[str, Tensor]) -> None:
    """Logs an evaluation at its optimiser step; the step that Lightning would log is one behind.

    Args:
        module: The module, at the end of the evaluation.
        task: The module's task.
        metrics: Scalars by name, such as ``val/loss``.
    """
    shown = {metric.key for metric in (LOSS, *task.shown())}
    for in_bar in (True, False):
        some = {name: value for name, value in metrics.items() if (name.partition("/")[2] in shown) == in_bar}
        # A group of one process too: Lightning warns of each figure that is logged beside it without this.
        if not (dist.is_available() and dist.is_initialized()):
            module.log_dict(some, prog_bar=in_bar, logger=False)
        else:
            # Every process has the figures of all examples: the largest of equals is each of them, to the bit.
            on_device = {name: value.to(module.device) for name, value in some.items()}
            module.log_dict(on_device, prog_bar=in_bar, logger=False, sync_dist=True, reduce_fx="max")
    if module.trainer.sanity_checking:
        return
    defined = {name: value for name in metrics if (value := recorded(float(metrics[name]))) is not None}
    for logger in module.trainer.loggers:
        logger.log_metrics(defined, step=module.trainer.global_step)
