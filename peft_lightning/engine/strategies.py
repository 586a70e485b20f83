"""Lightning's strategies that host an engine: a further one is added here and chosen here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.overrides.distributed import _sync_module_states
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from peft_lightning.engine.engine import Engine, EngineName
from peft_lightning.engine.gradient_buckets import SharedGradients
from peft_lightning.engine.lightning_engine import LightningEngine
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.sharded_layers import FSDP2
from peft_lightning.engine.sharding import ShardedStrategy
from peft_lightning.engine.shared_batches import shared_loss
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


class DDPSteps(EngineHost, DDPStrategy):
    """Lightning's strategy of a process for each device, each with an engine that computes its steps.

    A step may be a captured one: gradients are averaged once it is through, not by hooks within its backward pass. So
    the processes wait for each other at the end of a step only, and each cuts its batches, captures and falls back by
    itself.

    Args:
        devices: The devices on this machine.
        engine: The engine that the user asked for.
    """

    strategy_name = "ddp_steps"

    def __init__(self, devices: Sequence[torch.device], engine: EngineName = "auto") -> None:
        super().__init__(parallel_devices=list(devices), engine=engine)
        # The engine has seen what kind they are; the Trainer hands out its own.
        self.parallel_devices = None
        self._shared: SharedGradients | None = None
        self._owed: list[Callable[[], object]] = []

    def configure_ddp(self) -> None:
        """Gives all processes the weights of the first, and leaves the module as it is."""
        assert self.model is not None
        _sync_module_states(self.model)

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> Any:
        """Lets the engine compute the loss of this process's share of a batch, and adds that of the whole batch."""
        loss = super().training_step(batch, *args, **kwargs)
        assert self.lightning_module is not None
        trainer = self.lightning_module.trainer
        self._owed.clear()
        # A batch after which the weights are updated adds its loss behind the gradients.
        owed = None if trainer.fit_loop._should_accumulate() else self._owed
        return shared_loss(trainer, loss, batch, max(trainer.fit_loop.batch_idx, 0), owed)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Averages the gradients over the processes before the clipping and the update."""
        if self._shared is None:
            self._shared = SharedGradients([value for group in optimizer.param_groups for value in group["params"]])
        shared = self._shared

        def averaging() -> Any:
            loss = closure()
            shared.average(self.engine.ready)
            for add in self._owed:
                add()
            self._owed.clear()
            return loss

        return super().optimizer_step(optimizer, averaging, model, **kwargs)

    def teardown(self) -> None:
        """Tears the engine down, and then the strategy."""
        self._shared = None
        super().teardown()


def hosting_strategy(
    asked: Strategy | str, devices: Sequence[torch.device], engine: EngineName, num_nodes: int = 1
) -> Strategy | None:
    """Makes the strategy that has an engine for a Trainer's settings.

    Args:
        asked: The Trainer's ``strategy`` setting.
        devices: The devices that the Trainer will run on, on this machine; none if they are neither CPUs nor GPUs.
        engine: The engine that the user asked for.
        num_nodes: The number of machines.

    Returns:
        The strategy; None where the Trainer's own strategy steps without an engine.
    """
    if asked not in ("auto", "ddp", FSDP2) or not devices:
        return None
    if asked == FSDP2:
        return ShardedStrategy(engine)
    if asked == "auto" and len(devices) * num_nodes == 1:
        return SingleDeviceSteps(devices[0], engine)
    return DDPSteps(devices, engine)


def engine_of(trainer: Trainer) -> Engine:
    """Returns the engine that computes a Trainer's steps, whatever its strategy."""
    strategy = trainer.strategy
    return strategy.engine if isinstance(strategy, EngineHost | ShardedStrategy) else LightningEngine()
