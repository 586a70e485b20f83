"""What every executor keeps: the same comparison, killed in the middle and resumed, with a run that fails."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.execution.fit_job import PROGRESS
from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.runs.progress import read_progress
from tests.compare.execution.ray_nodes import RayNodes, running_ray
from tests.compare.execution.slurm_cluster import running_slurm
from tests.integration.breaking import VARIABLE
from tests.integration.offline_run import PROGRAM, SOURCES, history, record
from tests.integration.test_compare import FOLDER, SMALL, broken_recipe, failure, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WORDS = (*SMALL, "--seeds", "1", "--trainer.max_epochs", "2", "--no_forecast")
KINDS = {
    "local warm": (),
    "local cold": ("--cold_starts",),
    "slurm": ("--executor", "slurm", "--jobs", "1"),
    "ray": ("--executor", "ray", "--executor_settings", "cluster.yaml", "--jobs", "1"),
}
PATIENCE_S = 800.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_slurm(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(scope="module")
def ray() -> Iterator[RayNodes]:
    with running_ray() as nodes:
        yield nodes


def comparing(cwd: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Starts a comparison, whose output goes into `out.txt`."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache")}
    with (cwd / "out.txt").open("ab") as out:
        return subprocess.Popen(
            [*PROGRAM, "compare", *words], cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT
        )


def recipe(cwd: Path, hold: Path) -> str:
    """LoRA, held in its third step as long as a file exists."""
    content = yaml.safe_load((SOURCES / "configs/tuned_on_embedded/lora.yaml").read_text())
    held = {"class_path": "tests.integration.breaking.HeldBy", "init_args": {"file": str(hold)}}
    content["trainer"]["callbacks"] = [held]
    (cwd / "lora.yaml").write_text(yaml.safe_dump(content))
    return "lora.yaml"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a comparison that nobody has killed."""
    cwd = tmp_path_factory.mktemp("alone")
    process = comparing(cwd, recipe(cwd, cwd / "hold"), *WORDS, "--cold_starts")
    assert process.wait(PATIENCE_S) == 0, (cwd / "out.txt").read_text()
    run = newest_run(cwd / FOLDER / "runs/lora/seed_1")
    assert run is not None
    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_comparison_killed_and_resumed_leaves_the_records_of_one_left_alone(
    kind: str, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    if kind == "slurm":
        request.getfixturevalue("slurm")
    if kind == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray").address)
        # Runs have the variables of their node.
        variables = {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(tmp_path / "cache"), VARIABLE: "1"}
        (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({"environment": variables}))
    hold, folder = tmp_path / "hold", tmp_path / FOLDER / "runs/lora/seed_1"
    hold.touch()
    bad = broken_recipe(tmp_path, "bad", "Crash")
    process = comparing(tmp_path, recipe(tmp_path, hold), bad, *WORDS, *KINDS[kind])
    try:
        wait_for(lambda: any(folder.glob("lightning_logs/*/*/checkpoints/last.ckpt")), process)
        # It has reported its progress, and written its log, where the comparison looks.
        wait_for(lambda: (read := read_progress(folder / PROGRESS)) is not None and read.step > 0, process)
        assert "data: embedded" in (folder / "log.txt").read_text()
    finally:
        process.kill()
        process.wait()
    process = comparing(tmp_path, "--resume", str(FOLDER), *KINDS[kind])
    # Runs of SLURM go on without their comparison: let go only when the next one may have found it.
    letting_go = threading.Timer(4.0, hold.unlink)
    letting_go.start()
    try:
        assert process.wait(PATIENCE_S) == 1, (tmp_path / "out.txt").read_text()
    finally:
        letting_go.join()
        process.kill()
        process.wait()
    run = newest_run(folder)
    assert run is not None
    left, right = record(alone), record(run)
    for part in ("status", "metrics", "params", "dataset", "seed", "checkpoint_bytes"):
        assert left[part] == right[part], part
    assert left["time"]["steps"] == right["time"]["steps"] == 8
    assert (alone / "predictions.parquet").read_bytes() == (run / "predictions.parquet").read_bytes()
    assert history(alone) == history(run)
    starts = (folder / "log.txt").read_text().count("$ python -m peft_lightning fit")
    assert starts == (1 if kind == "slurm" else 2)
    assert right["time"]["start"] == ("warm" if kind == "local warm" else "cold")
    # What fails is a row.
    kept = failure(tmp_path, "bad")
    assert kept == {"status": "failed", "error": "the disk is on fire"}
    assert "the disk is on fire" in (tmp_path / FOLDER / "report.html").read_text()
    shutil.rmtree(tmp_path / FOLDER)
