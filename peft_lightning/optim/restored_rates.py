"""The learning rates of a run that goes on under another schedule than that of its checkpoint."""

from typing import Any


def follow_own_schedule(scheduler: Any) -> None:
    """Sets the rates of an optimiser to those that its scheduler has at its present step.

    The optimiser's restored state holds the rate that the checkpoint's own schedule had: 0 at its end.

    Args:
        scheduler: The scheduler, a ``LambdaLR``; it and its optimiser are changed.
    """
    rates = [
        rate * factor(scheduler.last_epoch)
        for rate, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    ]
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    scheduler._last_lr = rates
