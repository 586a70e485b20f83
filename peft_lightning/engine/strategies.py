"""The strategies of Lightning's that host an engine: another one becomes one here, and is chosen here."""

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
from peft_lightning.engine.step_engine import StepEngine


class EngineHost(Strategy):
    """Hands the steps of the strategy that it is mixed into over to an engine: `class Mine(EngineHost, DDPStrategy)`.

    Args:
        arguments: the strategy's own.
        engine: which engine is asked for.
        settings: the strategy's own.
    """

    def __init__(self, *arguments: Any, engine: EngineName = "auto", **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.engine = StepEngine(self, self.own_backward, engine)

    def own_backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Computes gradients as the strategy does without an engine.

        Args:
            closure_loss: the loss.
            optimizer: the optimiser.
            args: passed on.
            kwargs: passed on.
        """
        return super().backward(closure_loss, optimizer, *args, **kwargs)

    def setup(self, trainer: Trainer) -> None:
        """Sets the strategy up, and then the engine.

        Args:
            trainer: the Trainer.
        """
        super().setup(trainer)
        self.engine.setup(trainer)

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Has the engine compute the loss of a batch.

        Args:
            batch: on the device.
            args: its number in the epoch.
            kwargs: passed on.
        """
        return self.engine.training_step(partial(super().training_step, batch, *args, **kwargs), batch)

    def backward(self, closure_loss: Tensor, optimizer: Optimizer | None, *args: Any, **kwargs: Any) -> Tensor:
        """Has the engine compute the gradients.

        Args:
            closure_loss: the loss.
            optimizer: the optimiser.
            args: passed on.
            kwargs: passed on.
        """
        return self.engine.backward(partial(self.own_backward, closure_loss, optimizer, *args, **kwargs), closure_loss)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Has the engine update the weights.

        Args:
            optimizer: the optimiser.
            closure: computes the loss and its gradients.
            model: the module.
            kwargs: passed on.
        """
        own = partial(super().optimizer_step, optimizer, model=model, **kwargs)
        return self.engine.optimizer_step(own, optimizer, closure)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Has the engine evaluate a batch.

        Args:
            args: the batch and its number.
            kwargs: passed on.
        """
        return self.engine.validation_step(partial(super().validation_step, *args, **kwargs))

    def teardown(self) -> None:
        """Ends the engine, and then the strategy."""
        self.engine.teardown(super().teardown)


class SingleDeviceSteps(EngineHost, SingleDeviceStrategy):
    """One device whose steps an engine computes.

    Args:
        device: the device.
        engine: which engine is asked for.
    """

    strategy_name = "single_device_steps"

    def __init__(self, device: torch.device | str = "cpu", engine: EngineName = "auto") -> None:
        super().__init__(device, engine=engine)


def hosting_strategy(asked: Strategy | str, device: torch.device | None, engine: EngineName) -> Strategy | None:
    """Makes the strategy that hosts an engine for a Trainer's settings.

    Args:
        asked: the Trainer's setting.
        device: the one device that the Trainer will run on, if it is one.
        engine: which engine is asked for.

    Returns:
        The strategy; None where the Trainer's own steps as Lightning does.
    """
    return SingleDeviceSteps(device, engine) if asked == "auto" and device is not None else None


def engine_of(trainer: Trainer) -> Engine:
    """Returns what computes a Trainer's steps.

    Args:
        trainer: the Trainer, whatever its strategy.
    """
    strategy = trainer.strategy
    return strategy.engine if isinstance(strategy, EngineHost) else LightningEngine()
