"""Processes that a server forks, beside those that start cold."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.execution.executors.local import LocalExecutor, LocalProcess
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.recipes import merge, read_config
from tests.conftest import write_reviews
from tests.integration.offline_run import SOURCES, history, only_run, record

COLD, WARM = ExecutorOptions(cold_starts=True), ExecutorOptions()
PATIENCE_S = 300.0


class Told(FitJob):
    """A job whose process ends at once."""

    @property
    def words(self) -> tuple[str, ...]:
        return ("--version",)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own, and the sources for the processes; the server reads both when it starts."""
    folder = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as scene:
        scene.setenv("PYTHONPATH", str(SOURCES))
        scene.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def warm(environment: Path) -> LocalExecutor:
    """An executor whose server serves the tests of this file."""
    return LocalExecutor(WARM)


def fit(folder: Path, reviews: Path, **trainer: Any) -> FitJob:
    """A fit of some 2 s."""
    recipe = merge(read_config(SOURCES / "configs/lora.yaml"), read_config(SOURCES / "configs/offline.yaml"))
    data = {"source": str(reviews), "n_train": 32, "n_val": 16, "n_test": 16, "max_length": 32}
    trained = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1}
    own = {"default_root_dir": str(folder)}
    return FitJob("lora", "seed 1", folder, merge(recipe, {"data": data, "trainer": {**trained, **own, **trainer}}))


def probing(folder: Path, **more: Any) -> FitJob:
    """A job whose process writes down what it is like."""
    probe = {"class_path": "tests.compare.execution.probe.Probe", "init_args": {"file": str(folder / "seen"), **more}}
    settings = merge(read_config(SOURCES / "configs/lora.yaml"), {"trainer": {"callbacks": [probe]}})
    return FitJob("lora", "seed 1", folder, merge(settings, {"seed_everything": False}))


def seen(folder: Path) -> dict[str, Any]:
    """What a process has written down, once it has."""
    wait_for((folder / "seen").exists)
    content: dict[str, Any] = json.loads((folder / "seen").read_text())
    return content


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
def test_a_forked_process_is_what_a_started_one_is(warm: LocalExecutor, tmp_path: Path) -> None:
    cold = LocalExecutor(COLD)
    found = {}
    for name, executor, place in (("cold", cold, "3"), ("warm", warm, "4"), ("again", warm, "3")):
        running = executor.start(probing(tmp_path / name), place)
        assert running.outcome().exit_code == 7
        found[name] = seen(tmp_path / name)
        own = found[name]["its own"]
        assert own["parent"] == os.getpid(), name
        assert own["group"] == own["pid"], name
        assert own["dies with its parent"], name
        assert own["sees"] == found[name]["alike"]["environment"].pop("CUDA_VISIBLE_DEVICES") == place
    cold_one, warm_one = found["cold"]["alike"], found["warm"]["alike"]
    assert {what: (warm_one[what], value) for what, value in cold_one.items() if warm_one[what] != value} == {}
    assert set(found["cold"]["filters"]) <= set(found["warm"]["filters"])
    # Nobody has seeded them: each process draws its own.
    draws = [draw for one in found.values() for draw in one["random"]]
    assert len(set(draws)) == len(draws)


@pytest.mark.slow
def test_a_warm_run_leaves_the_bits_of_a_cold_one_and_says_how_it_started(warm: LocalExecutor, tmp_path: Path) -> None:
    reviews = write_reviews(tmp_path / "reviews")
    for name, executor in (("cold", LocalExecutor(COLD)), ("warm", warm)):
        assert executor.start(fit(tmp_path / name, reviews), None).outcome().finished
    cold, of_warm = only_run(tmp_path / "cold"), only_run(tmp_path / "warm")
    left, right = record(cold), record(of_warm)
    for part in ("metrics", "params", "dataset", "seed", "engine", "checkpoint_bytes", "notes"):
        assert left[part] == right[part], part
    assert (cold / "predictions.parquet").read_bytes() == (of_warm / "predictions.parquet").read_bytes()
    assert history(cold) == history(of_warm)
    assert (left["time"]["start"], right["time"]["start"]) == ("cold", "warm")
    assert right["time"]["startup_s"] < left["time"]["startup_s"] / 2
    # Its own memory, not its server's: what is preloaded and not used differs by some 20 MiB of some 500.
    ours, theirs = (of["memory"]["train_peak_rss_gib"] for of in (left, right))
    assert theirs == pytest.approx(ours, rel=0.15)


@pytest.mark.slow
def test_its_end_is_reported_as_it_was(warm: LocalExecutor, tmp_path: Path) -> None:
    ended: dict[str, tuple[int | None, str | None]] = {}
    for name, end in (("interrupt", LocalProcess.interrupt), ("kill", LocalProcess.kill)):
        running = warm.start(probing(tmp_path / name, hold=True), None)
        seen(tmp_path / name)
        began = running.running
        assert began
        assert not running.wait(0.05)
        end(running)
        outcome = running.outcome()
        assert not running.running
        ended[name] = (outcome.exit_code, outcome.error)
    assert ended["interrupt"][0] == 130
    assert ended["kill"] == (-signal.SIGKILL, "killed by SIGKILL (the machine's memory may have run out)")


@pytest.mark.slow
def test_where_the_server_dies_its_runs_go_on_and_the_next_start_cold(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = LocalExecutor(WARM)
    first = executor.start(probing(tmp_path / "first", hold=True), None)
    seen(tmp_path / "first")
    assert executor._warm is not None
    server = psutil.Process(executor._warm.server)
    server.kill()
    wait_for(lambda: bool(server.status() == psutil.STATUS_ZOMBIE))
    assert first.running
    second = executor.start(Told("b", "seed 1", tmp_path / "second", {}), None)
    assert second.outcome().exit_code == 0
    assert capsys.readouterr().out == (
        "note: runs import everything themselves from now on, since their server cannot fork: killed by SIGKILL\n"
    )
    first.kill()
    assert executor.start(Told("c", "seed 1", tmp_path / "third", {}), None).outcome().exit_code == 0
    assert capsys.readouterr().out == ""


def test_where_the_server_cannot_start_runs_start_cold_and_a_note_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif any('fork_server' in word for word in sys.orig_argv): print('no memory'), os._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{SOURCES}")
    running = LocalExecutor(WARM).start(Told("a", "seed 1", tmp_path / "a", {}), None)
    assert running.outcome().exit_code == 0
    assert "since their server cannot fork: no memory\n" in capsys.readouterr().out
    assert (tmp_path / "a" / "log.txt").read_text().splitlines()[-1] == "0.1.0"
