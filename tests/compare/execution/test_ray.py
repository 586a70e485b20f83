"""Jobs on a real Ray cluster of two nodes: they wait, are stopped, and go on elsewhere if their node is lost."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from peft_lightning.compare.execution.cluster_settings import read_settings
from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.execution.executors import ray as of_ray
from peft_lightning.compare.execution.executors.local import LocalExecutor
from peft_lightning.compare.execution.executors.ray import RayExecutor
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.ray_cluster import Demand
from peft_lightning.compare.execution.ray_settings import RaySettings
from peft_lightning.errors import UserError
from tests.compare.execution.ray_nodes import FIRST, SECOND, RayNodes, running_ray
from tests.compare.execution.test_warm_starts import Told, fit, wait_for
from tests.conftest import write_reviews
from tests.integration.offline_run import SOURCES, only_run, record

GPU_NODE = {"CPU": 64.0, "GPU": 8.0, "memory": 1e11}


@pytest.mark.parametrize(
    ("demand", "node", "runs"),
    [
        (Demand(1, 8, {}), GPU_NODE, 8),
        (Demand(1, 16, {}), GPU_NODE, 4),
        (Demand(0.25, 2, {}), GPU_NODE, 32),
        (Demand(2, 1, {"H100": 1.0}), GPU_NODE, 0),
        (Demand(2, 1, {"H100": 1.0}), {**GPU_NODE, "H100": 3.0}, 3),
        (Demand(0, 4, {}), {"CPU": 4.0}, 1),
        (Demand(1, 1, {}), {"CPU": 4.0}, 0),
    ],
)
def test_a_node_holds_as_many_runs_as_its_resources(demand: Demand, node: dict[str, float], runs: int) -> None:
    assert demand.fits(node) == runs


@pytest.mark.parametrize(
    ("settings", "on_gpu", "share", "gpus", "cpus"),
    [
        (RaySettings(), True, 1, 1, 8),
        (RaySettings(gpus=2), True, 1, 2, 16),
        (RaySettings(cpus=3), True, 1, 1, 3),
        (RaySettings(), True, 4, 0.25, 2),
        # All of the smaller node's: runs that share a processor measure neither memory nor time.
        (RaySettings(), False, 1, 0, 16),
        (RaySettings(), False, 4, 0, 4),
    ],
)
def test_a_run_asks_for_a_gpu_and_its_share_of_the_cores(
    settings: RaySettings, on_gpu: bool, share: int, gpus: float, cpus: float
) -> None:
    demand = of_ray._demand(settings, [GPU_NODE, {"CPU": 16.0}], on_gpu, share)
    assert (demand.gpus, demand.cpus) == (gpus, cpus)


def test_mistakes_are_lines_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("partition: gpu")
    with pytest.raises(UserError, match="partition is no setting: there are gpus, cpus, resources"):
        read_settings(path, RaySettings)
    path.write_text("resources: {H100: many}")
    with pytest.raises(UserError, match="resources 'H100' is 'many'"):
        read_settings(path, RaySettings)
    path.write_text("gpus: 2")
    with pytest.raises(UserError, match="--share_gpu 2: runs of 2 GPUs each share none"):
        RayExecutor(ExecutorOptions(settings=path, share_gpu=2))
    with pytest.raises(UserError, match="--ray_address is for --executor ray"):
        LocalExecutor(ExecutorOptions(address="127.0.0.1:6379"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed: pip install 'peft-lightning\[ray\]'"):
        RayExecutor()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with running_ray() as nodes:
        yield nodes
        import ray

        ray.shutdown()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executor(cluster: RayNodes, folder: Path, **settings: Any) -> RayExecutor:
    path = folder / "cluster.yaml"
    environment = {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(folder / "cache")}
    path.write_text(yaml.safe_dump({"environment": environment, **settings}))
    return RayExecutor(ExecutorOptions(settings=path, address=cluster.address))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1 ([Errno 111] Connection refused): start one with ray"),
        ("ray://127.0.0.1:1", "ray://127.0.0.1:1 is no address of a cluster: say --ray_address HOST:PORT"),
        ("head", "head is no address of a cluster"),
        ("127.0.0.1:99999", "no Ray cluster answers at 127.0.0.1:99999"),
    ],
)
def test_a_cluster_that_does_not_answer_is_a_line(address: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = ModuleType("ray")
    ray.is_initialized = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(UserError) as refused:
        RayExecutor(ExecutorOptions(address=address))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match="--executor ray: "):
        RayExecutor()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_jobs_wait_for_room_are_stopped_in_order_and_go_on_where_a_node_is_left(cluster: RayNodes, place: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    usual = executor(cluster, place)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert usual.places(None) == [None, None], "a run on each of the two nodes"
    reviews, hold = write_reviews(place / "reviews"), place / "hold"
    hold.touch()
    held = {"class_path": "tests.integration.breaking.HeldBy", "init_args": {"file": str(hold)}}
    often = {"every_n_steps": 1, "max_time_share": 1}

    def job(name: str) -> FitJob:
        planned = fit(place / name, reviews, callbacks=[held])
        return FitJob(planned.label, planned.what, planned.folder, {**planned.settings, "checkpoint": often})

    def trains(name: str) -> bool:
        return any((place / name).rglob("last.ckpt"))

    # On the second node, which will be lost; it has room for no other.
    lost = executor(cluster, place, resources={SECOND: 0.5})
    lost.places(None)
    run = lost.start(job("a"), None)
    wait_for(lambda: run.running and trains("a"))
    waits = lost.start(job("b"), None)
    assert waits.running
    assert (progress := waits.progress()) is not None
    assert progress.stage == "waiting for a node"
    assert waits.elapsed_s == 0
    waits.kill()
    assert waits.wait(60)

    # Ctrl-C lets a run write its record.
    first = executor(cluster, place, resources={FIRST: 0.5})
    first.places(None)
    stopped = first.start(job("c"), None)
    wait_for(lambda: stopped.running and trains("c"))
    stopped.interrupt()
    assert stopped.wait(300), (place / "c" / "log.txt").read_text()
    outcome = stopped.outcome()
    assert not outcome.finished
    assert record(only_run(place / "c"))["status"] == "interrupted"
    assert (place / "c" / of_ray.STARTED).read_text().strip()

    # Where it goes on nothing asks for the second node any more.
    run._demand = Demand(0, 1, {})
    cluster.lose_second()
    wait_for(lambda: run.running and (place / "a" / "log.txt").read_text().count("$ python -m peft_lightning fit") == 2)
    hold.unlink()
    outcome = run.outcome()
    assert outcome.finished, outcome.error
    assert (place / "a" / "log.txt").read_text().count("\nresuming ") == 1
    assert record(only_run(place / "a"))["time"]["steps"] == 4

    # One without a record is a row.
    failed = usual.start(Told("d", "seed 1", place / "d", {}), None)
    assert not failed.outcome().finished
