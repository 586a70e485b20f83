"""The port at which the processes meet that a run starts itself."""

import os

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ParallelStrategy
from torch import distributed as dist


def listen_for_processes(trainer: Trainer) -> None:
    """Listens at a port before the run's other processes are told it, so that nobody else can take it meanwhile.

    Lightning finds a free port, lets go of it, and listens there 1 to 4 ms later (two busy cores): a program that got
    the port in between ended the run in torch's "address already in use".

    Args:
        trainer: The Trainer, which has not started yet.
    """
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, LightningEnvironment) or not isinstance(trainer.strategy, ParallelStrategy):
        return
    # Who has started the processes, or names a port, decides where they meet.
    if environment.creates_processes_externally or "MASTER_PORT" in os.environ:
        return
    # torch's own store of this process takes over the server at this port.
    store = dist.TCPStore(  # type: ignore[attr-defined]
        environment.main_address, 0, is_master=True, wait_for_workers=False, multi_tenant=True
    )
    environment._main_port = store.port
    environment._meeting = store  # type: ignore[attr-defined]  # it listens as long as it is there
