"""Processes that are started before a run has read its settings: how many, who takes them, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.commands import started_ahead as subject
from tests.integration.offline_run import SOURCES, TINY, only_run, record

FIT = ("fit", "--config", "configs/lora.yaml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*FIT], 0),
        ([*FIT, "--trainer.devices", "2"], 1),
        ([*FIT, "--trainer.devices=4"], 3),
        (["predict", "--trainer.devices", "4", "--trainer.devices", "2"], 1),
        ([*FIT, "--trainer.devices", "0,3"], 1),
        ([*FIT, "--trainer.devices", "[1, 2, 3]"], 2),
        ([*FIT, "--trainer.devices", "3,"], 0),
        ([*FIT, "--trainer.devices", "auto"], 0),
        ([*FIT, "--trainer.devices", "-1"], 0),
        ([*FIT, "--trainer.devices", "1000000"], 0),
        ([*FIT, "--trainer.devices", "[2"], 0),
        ([*FIT, "--trainer.devices", "2", "--trainer.num_nodes", "2"], 0),
        ([*FIT, "--trainer.devices", "2", "--print_config"], 0),
        (["fit", "--config", "there is no such file", "--trainer.devices", "2"], 0),
        (["fit", "--config", "two.yaml"], 1),
        (["fit", "--config", "two.yaml", "--trainer.devices", "1"], 0),
        (["compare", "configs/lora.yaml", "--trainer.devices", "2"], 0),
    ],
    ids=str,
)
def test_as_many_are_started_as_are_plainly_asked_for(
    words: list[str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.yaml").write_text("trainer: {devices: 2}")
    monkeypatch.chdir(tmp_path)
    assert subject._wanted(words) == expected


def test_none_is_started_beside_those_of_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert subject._wanted([*FIT, "--trainer.devices", "2"]) == 0


def waiting(code: str) -> tuple[Any, int]:
    heard, told = os.pipe()
    words = [sys.executable, "-c", code, str(heard)]
    process = subprocess.Popen(words, pass_fds=(heard,), stdout=subprocess.PIPE)
    os.close(heard)
    return process, told


def test_one_that_waits_hears_its_environment_and_one_that_has_ended_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = waiting("")
    ended[0].wait()
    hears = waiting("import os, sys; print(os.fdopen(int(sys.argv[1])).read())")
    monkeypatch.setattr(subject, "_waiting", [ended, hears])
    environment = dict(os.environ) | {"LOCAL_RANK": "1", "LONG": "x" * 100_000}
    taken = subject._taken(["not started"], environment, None)
    assert taken is hears[0]
    assert json.loads(taken.communicate(timeout=60)[0]) == environment
    fresh = subject._taken(
        [sys.executable, "-c", "import os; assert os.environ['LOCAL_RANK'] == '1'"], environment, None
    )
    assert fresh.wait(timeout=60) == 0


def program(*words: str, cwd: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache")}
    command = [sys.executable, "-m", "peft_lightning", *words]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        start_new_session=True,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def those_of(session: int) -> list[int]:
    """The processes of a session, by what /proc says of each."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def all_end(session: int) -> bool:
    """Waits for the processes of a session: one closes its files before it is gone."""
    deadline = time.monotonic() + 20
    while those_of(session) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not those_of(session)


TWO = ("--trainer.devices", "2", "--trainer.accelerator", "cpu")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_run_takes_them_and_leaves_none(tmp_path: Path) -> None:
    started = program(*FIT, *TINY, *TWO, "--trainer.max_epochs", "200", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("lightning_logs/*/*/history.csv")):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    others = [number for number in those_of(started.pid) if number != started.pid]
    begun = [number for number in others if b"STARTED_AHEAD=" in Path(f"/proc/{number}/environ").read_bytes()]
    assert len(begun) == 1
    os.kill(started.pid, signal.SIGTERM)
    started.communicate(timeout=60)
    assert started.returncode == 143
    assert record(only_run(tmp_path))["status"] == "interrupted"
    assert all_end(started.pid)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "words", [("--model.learning_rate", "much"), ("--trainer.strategy", "fsdp2", "--engine", "graph")]
)
def test_what_is_refused_ends_in_one_line_and_leaves_none(words: tuple[str, ...], tmp_path: Path) -> None:
    refused = program(*FIT, *TINY, *TWO, *words, cwd=tmp_path)
    _, said = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert len(said.strip().splitlines()) == 1
    assert all_end(refused.pid)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_they_end_with_the_first_without_a_word(number: signal.Signals, tmp_path: Path) -> None:
    started = program(*FIT, *TINY, *TWO, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(those_of(started.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # A terminal's Ctrl-C reaches them all; who is killed takes nobody along.
    os.killpg(started.pid, number) if number == signal.SIGINT else os.kill(started.pid, number)
    _, said = started.communicate(timeout=60)
    assert len(said.strip().splitlines()) == (1 if number == signal.SIGINT else 0)
    assert all_end(started.pid)
