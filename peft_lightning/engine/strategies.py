"""Lightning's strategies that host an engine: a further one is added here and chosen here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy, Strategy
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from peft_lightning.engine.engine import Engine, EngineName
from peft_lightning.engine.lightning_engine import LightningEngine
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.sharding import ShardedStrategy
from peft_lightning.engine.step_engine import StepEngine


class EngineHost(Strategy):
    """Hands a strategy's steps over to an engine; mixed in as in ``class DDPSteps(EngineHost, DDPStrategy)``.

    Args:
        arguments: The strategy's positional arguments.
        engine: The engine that the user asked for.
        settings: The strategy's keyword arguments.
    """

    def __init__(self, *arguments: Any, engine: EngineName = "auto", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.engine = StepEngine(self, self.own_backward, engine)

    def own_backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Computes gradients as the strategy does without an engine."""
        return super().backward(closure_loss, optimizer, *args, **kwargs)

    def setup(self, trainer: Trainer) -> None:
        """Sets the strategy up, and then the engine."""
        super().setup(trainer)
        self.engine.setup(trainer)

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Lets the engine compute the loss of a batch."""
        return self.engine.training_step(partial(super().training_step, batch, *args, **kwargs), batch)

    def backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Lets the engine compute the gradients."""
        return self.engine.backward(partial(self.own_backward, closure_loss, optimizer, *args, **kwargs), closure_loss)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Lets the engine update the weights; ``closure`` computes the loss and its gradients."""
        own = partial(super().optimizer_step, optimizer, model=model, **kwargs)
        return self.engine.optimizer_step(own, optimizer, closure)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Lets the engine evaluate a batch."""
        return self.engine.validation_step(partial(super().validation_step, *args, **kwargs))

    def teardown(self) -> None:
        """Tears the engine down, and then the strategy."""
        self.engine.teardown(super().teardown)


class SingleDeviceSteps(EngineHost, SingleDeviceStrategy):
    """Lightning's single-device strategy with an engine that computes its steps."""

    strategy_name = "single_device_steps"

    def __init__(self, device: torch.device | str = "cpu", engine: EngineName = "auto") -> None:
        super().__init__(device, engine=engine)


def hosting_strategy(asked: Strategy | str, device: torch.device | None, engine: EngineName) -> Strategy | None:
    """Makes the strategy that hosts an engine for a Trainer's settings.

    Args:
        asked: The Trainer's ``strategy`` setting.
        device: The device that the Trainer will run on; None for several devices.
        engine: The engine that the user asked for.

    Returns:
        The strategy; None where the Trainer's own strategy steps without an engine.
    """
    return SingleDeviceSteps(device, engine) if asked == "auto" and device is not None else None


def engine_of(trainer: Trainer) -> Engine:
    """Returns the engine that computes a Trainer's steps, whatever its strategy."""
    strategy = trainer.strategy
    return strategy.engine if isinstance(strategy, EngineHost | ShardedStrategy) else LightningEngine()
