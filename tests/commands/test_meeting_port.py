"""Where a run's processes meet; tests/integration/test_several_processes.py has real ones that do."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments import lightning
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import distributed as dist

from peft_lightning.__main__ import main
from peft_lightning.commands.launchers import OF_A_RUN
from tests.integration.offline_run import only_run, record


@pytest.fixture(autouse=True)
def without_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ends the group of one process that a run has started, and the number that Lightning took for this process."""
    monkeypatch.setattr(rank_zero_only, "rank", 0)
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


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"MASTER_PORT": "TAKEN"}, "which another program has: unset MASTER_PORT, and a free one is found"),
        ({"MASTER_PORT": "29500:"}, "MASTER_PORT 29500:, which is no port: unset MASTER_PORT"),
        # An address of documentation, which no machine has.
        ({"MASTER_ADDR": "192.0.2.1"}, "MASTER_ADDR 192.0.2.1, which is no address of this machine"),
        ({"LOCAL_RANK": "0"}, "unset LOCAL_RANK, or start the run with one of them"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, "unset LOCAL_RANK, or start the run with one of them"),
    ],
    ids=["taken port", "no port", "another machine", "first of nobody's", "second of nobody's"],
)
def test_a_place_where_processes_cannot_meet_is_one_line(
    told: dict[str, str],
    said: str,
    tiny_fit: list[str],
    unlaunched: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "WORLD_SIZE", OF_A_RUN):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        for name, value in told.items():
            monkeypatch.setenv(name, value.replace("TAKEN", str(other.getsockname()[1])))
        with pytest.raises(SystemExit) as ended:
            main([*tiny_fit, "--trainer.devices", "2"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("lightning_logs").exists()
