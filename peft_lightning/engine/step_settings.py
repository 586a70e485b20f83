"""What a captured step does beside the loss and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import AdamW

from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.strategy_view import StrategyView


@dataclass(frozen=True)
class StepSettings:
    """What a captured step does beside the loss and its gradients.

    Args:
        clipping: what is done to the gradients before the update.
        accumulate: batches whose gradients are added up for one step.
        context: what the forward pass runs in, such as autocast.
        scale: multiplies the loss before the backward pass, as a gradient scaler does.
        clips: whether the clipping can be captured: the gradients are neither accumulated nor scaled.
        updates: whether the optimiser's step, too, can be captured.
        weights: what the forward and the backward pass run in, such as with weights that are lent.
        capturing: what warm-up and capture run in, by the micro-batch size; replays run without it.
    """

    clipping: Clipping
    accumulate: int
    context: Callable[[], AbstractContextManager[None]]
    scale: Callable[[Tensor], Tensor]
    clips: bool
    updates: bool
    weights: Callable[[], AbstractContextManager[None]] = nullcontext
    capturing: Callable[[int], AbstractContextManager[None]] = lambda micro_batch_size: nullcontext()


def trainer_settings(
    strategy: StrategyView,
    compiles: bool,
    weights: Callable[[], AbstractContextManager[None]],
    capturing: Callable[[int], AbstractContextManager[None]],
) -> StepSettings:
    """Returns what a captured step does under a Trainer: equal settings as long as nothing of it has changed.

    Args:
        strategy: what runs the steps.
        compiles: whether the layers are compiled before.
        weights: as in the settings; the same method each time.
        capturing: as in the settings; the same method each time.
    """
    trainer = strategy.module.trainer
    scaler = getattr(strategy.precision, "scaler", None)
    accumulate = trainer.accumulate_grad_batches
    clips = accumulate == 1 and scaler is None
    return StepSettings(
        clipping=Clipping(
            trainer.gradient_clip_val,
            by_norm=trainer.gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM),
            in_update=compiles,  # which rounds otherwise anyway
        ),
        accumulate=accumulate,
        context=strategy.precision.train_step_context,
        scale=scaler.scale if scaler is not None else _as_it_is,
        clips=clips,
        updates=clips and type(strategy.optimizer) is AdamW,
        weights=weights,
        capturing=capturing,
    )


def _as_it_is(loss: Tensor) -> Tensor:
    return loss
