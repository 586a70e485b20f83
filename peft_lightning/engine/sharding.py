"""FSDP2: weights, gradients and moments spread over the devices, so that a model need not fit one of them.

Zhao et al. 2023, arXiv:2304.11277; https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.engine.attention import planned_attention
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.sharded_engine import ShardedEngine
from peft_lightning.engine.sharded_layers import FSDP2
from peft_lightning.engine.sharded_tensors import gathered_moments, gathered_weights, spread_moments, spread_weights
from peft_lightning.engine.spread_network import drop_gathered, spread_network


class ShardedStrategy(ModelParallelStrategy):
    """Shards each layer of the network, and the rest of it together, over all devices of the run.

    Checkpoints are those of one process: whole weights and moments, in one file. So they load on any number of devices.

    Args:
        engine: The engine that the user asked for.
    """

    strategy_name = FSDP2

    def __init__(self, engine: EngineName = "auto") -> None:
        super().__init__(save_distributed_checkpoint=False)
        self.engine = ShardedEngine(self, engine)

    def setup_environment(self) -> None:
        """Starts the group of processes, with all devices in one dimension; a module need not be there yet."""
        self._setup_distributed()
        self._device_mesh = init_device_mesh(
            self.root_device.type, (self.world_size,), mesh_dim_names=("data_parallel",)
        )

    def shard(self, network: nn.Module) -> None:
        """Shards a network that the first process holds whole on the host; a second call does nothing.

        Args:
            network: The network.
        """
        if isinstance(network, FSDPModule):
            return
        self.precision_plugin.convert_module(network)
        dtype = compute_dtype(str(self.precision_plugin.precision))
        spread_network(network, self.device_mesh, self.root_device, dtype, on_one_host=self.num_nodes == 1)

    def setup(self, trainer: Trainer) -> None:
        """Sets the strategy up, and then the engine."""
        super().setup(trainer)
        self.engine.setup(trainer)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the loss of a batch."""
        with self.engine.layers():
            return super().training_step(*args, **kwargs)

    def backward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Computes the gradients of a batch; checkpointed layers run once more."""
        with self.engine.layers():
            return super().backward(*args, **kwargs)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """False: callbacks get their state before the fit starts, as under other strategies."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """True: the optimiser's state is read from the checkpoint as under other strategies."""
        return True

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a validation batch."""
        with _gathering_for_training():
            return super().validation_step(*args, **kwargs)

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a test batch."""
        with _gathering_for_training():
            return super().test_step(*args, **kwargs)

    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """Answers a batch."""
        with _gathering_for_training():
            return super().predict_step(*args, **kwargs)

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        """Gathers the trained weights; in other processes than the first the result is empty."""
        assert self.lightning_module is not None
        return gathered_weights(self.lightning_module, keep=self.is_global_zero)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Gathers an optimiser's state; in other processes than the first it lacks the tensors."""
        return gathered_moments(getattr(optimizer, "_optimizer", optimizer), keep=self.is_global_zero)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint in every process."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Takes this process's part of the weights of a checkpoint."""
        assert self.lightning_module is not None
        spread_weights(self.lightning_module, checkpoint["state_dict"])
        drop_gathered(self.lightning_module)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes this process's part of the optimiser's state of a checkpoint."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            spread_moments(optimizer, state)

    def teardown(self) -> None:
        """Frees what only training needs: a test that follows has the memory."""
        self.engine.teardown()
        for optimizer in self.optimizers:
            optimizer.state.clear()
            optimizer.zero_grad()
        super().teardown()


def shard(strategy: Strategy, network: nn.Module) -> None:
    """Shards a network where the strategy does so.

    Args:
        strategy: The Trainer's strategy; its processes have started.
        network: The network, on the host; on the meta device in other processes than the first.
    """
    if isinstance(strategy, ShardedStrategy):
        strategy.shard(network)


def building_device(strategy: Strategy) -> torch.device:
    """Returns the device that a process builds its network for: meta where it gets the first one's values.

    Args:
        strategy: The Trainer's strategy.
    """
    gets_values = isinstance(strategy, ShardedStrategy) and not strategy.is_global_zero
    return torch.device("meta") if gets_values else strategy.root_device


def is_sharded(strategy: object) -> bool:
    """Tells whether a Trainer's ``strategy`` setting, or the strategy itself, shards the weights."""
    return strategy == FSDP2 or isinstance(strategy, ShardedStrategy)


@contextmanager
def _gathering_for_training() -> Iterator[None]:
    """Leaves Lightning's inference mode: FSDP2 keeps the tensors that it gathers into, and trains with them later."""
    with torch.inference_mode(False), torch.no_grad(), planned_attention(False):
        yield


StrategyRegistry.register(FSDP2, ShardedStrategy, description="FSDP2: weights sharded over all devices")
