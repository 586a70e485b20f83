"""Where a run's processes meet; tests/integration/test_several_processes.py has real ones that do."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments import lightning
from torch import distributed as dist

from peft_lightning.__main__ import main
from tests.integration.offline_run import only_run, record


@pytest.fixture(autouse=True)
def without_processes() -> Iterator[None]:
    """Ends the group of one process that a run has started."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_a_port_that_another_program_takes_in_time_stops_no_run(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with socket.socket() as other:

        def find() -> int:
            """Finds a port as Lightning does, which another program then has."""
            other.bind(("", 0))
            other.listen()
            return int(other.getsockname()[1])

        monkeypatch.setattr(lightning, "find_free_network_port", find)
        main([*tiny_fit, "--trainer.strategy", "ddp", "--trainer.devices", "1", "--test_after_fit", "false"])
    assert record(only_run(Path()))["status"] == "finished"
