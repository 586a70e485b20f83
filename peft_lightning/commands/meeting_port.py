"""The port at which the processes meet that a run starts itself."""

import errno
import os
import socket

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ParallelStrategy
from torch import distributed as dist

from peft_lightning.errors import UserError


def listen_for_processes(trainer: Trainer) -> None:
    """Listens at a port before the run's other processes are told it, so that nobody else can take it meanwhile.

    Lightning finds a free port, lets go of it, and listens there 1 to 4 ms later (two busy cores): a program that got
    the port in between ended the run in torch's "address already in use".

    Args:
        trainer: The Trainer, which has not started yet.

    Raises:
        UserError: If the environment names a place where this machine cannot listen.
    """
    environment = trainer._accelerator_connector.cluster_environment
    if not isinstance(environment, LightningEnvironment) or not isinstance(trainer.strategy, ParallelStrategy):
        return
    # Who has started the processes, or names a port, decides where they meet.
    if environment.creates_processes_externally:
        return
    if trainer.num_devices > 1 and not dist.is_initialized():
        _check_address()
        _check_port()
    if "MASTER_PORT" in os.environ:
        return
    # torch's own store of this process takes over the server at this port.
    store = dist.TCPStore(  # type: ignore[attr-defined]
        environment.main_address, 0, is_master=True, wait_for_workers=False, multi_tenant=True
    )
    environment._main_port = store.port
    environment._meeting = store  # type: ignore[attr-defined]  # it listens as long as it is there


def _check_address() -> None:
    """Refuses another machine's address, at which torch would wait for half an hour, deaf to signals."""
    address = os.environ.get("MASTER_ADDR")
    if address is None:
        return
    try:
        family, kind, _, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as here:
            here.bind(place)
    except OSError as error:
        raise UserError(
            f"the environment says MASTER_ADDR {address}, which is no address of this machine, and the run's processes"
            " meet on it: unset MASTER_ADDR, or start the run with torchrun or srun"
        ) from error


def _check_port() -> None:
    port = os.environ.get("MASTER_PORT")
    if port is None:
        return
    said = f"the environment says MASTER_PORT {port}"
    if not (port.isdecimal() and int(port) < 2**16):
        raise UserError(f"{said}, which is no port: unset MASTER_PORT, or say a number below 65,536")
    try:
        with socket.socket() as here:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            here.bind(("", int(port)))
    except OSError as error:
        why = "another program has" if error.errno == errno.EADDRINUSE else "this one may not take"
        raise UserError(f"{said}, which {why}: unset MASTER_PORT, and a free one is found") from error
