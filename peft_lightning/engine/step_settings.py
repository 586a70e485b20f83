"""The settings of a captured step: clipping, accumulation, precision, update."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import AdamW

from peft_lightning.engine.casting import Lent
from peft_lightning.engine.clipping import Clipping
from peft_lightning.engine.strategy_view import StrategyView


@dataclass(frozen=True)
class StepSettings:
    """What a captured step does beside the loss and its gradients.

    Args:
        clipping: How the gradients are clipped before the update.
        accumulate: The number of batches whose gradients add up to one step.
        context: The context of the forward pass, such as autocast.
        scale: Multiplies the loss before the backward pass, as a gradient scaler does.
        clips: Whether the clipping is captured too: only where gradients are neither accumulated, scaled nor shared.
        updates: Whether the optimiser's step is captured too.
        weights: The context of the forward and the backward pass, such as ``cast_together``.
        capturing: The context of the warm-up and the capture, by the micro-batch size; replays run without it.
        shares: Whether the gradients are averaged over processes once the graph is done, before clipping and update.
    """

    clipping: Clipping
    accumulate: int
    context: Callable[[], AbstractContextManager[None]]
    scale: Callable[[Tensor], Tensor]
    clips: bool
    updates: bool
    weights: Callable[[], AbstractContextManager[Lent]] = lambda: nullcontext({})
    capturing: Callable[[int], AbstractContextManager[None]] = lambda micro_batch_size: nullcontext()
    shares: bool = False

    @property
    def weighs(self) -> bool:
        """Whether a batch is one of several that make a step, and has a share in it."""
        return self.accumulate > 1 or self.shares

    @property
    def lends_gradients(self) -> bool:
        """Whether gradients outlive the graph: batches add to them, or processes average them in their buckets."""
        return self.weighs


def trainer_settings(
    strategy: StrategyView,
    compiles: bool,
    weights: Callable[[], AbstractContextManager[Lent]],
    capturing: Callable[[int], AbstractContextManager[None]],
) -> StepSettings:
    """Returns the settings of a captured step under a Trainer; they compare equal as long as nothing has changed.

    Args:
        strategy: The strategy that runs the steps.
        compiles: Whether the layers are compiled before the capture.
        weights: As in ``StepSettings``; the same method at every call.
        capturing: As in ``StepSettings``; the same method at every call.
    """
    trainer = strategy.module.trainer
    scaler = getattr(strategy.precision, "scaler", None)
    accumulate = trainer.accumulate_grad_batches
    clips = accumulate == 1 and scaler is None and not strategy.shares_gradients
    return StepSettings(
        clipping=Clipping(
            trainer.gradient_clip_val,
            by_norm=trainer.gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM),
            in_update=compiles,  # compiled layers round differently anyway
        ),
        accumulate=accumulate,
        context=strategy.precision.train_step_context,
        scale=scaler.scale if scaler is not None else _as_it_is,
        clips=clips,
        # A method that reads the gradients of a step needs them once the step is over; a graph drops them.
        updates=clips and type(strategy.optimizer) is AdamW and not getattr(strategy.module, "reads_gradients", False),
        weights=weights,
        capturing=capturing,
        shares=strategy.shares_gradients,
    )


def _as_it_is(loss: Tensor) -> Tensor:
    return loss
