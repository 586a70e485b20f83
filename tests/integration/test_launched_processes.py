"""Processes that torchrun or srun has started leave what those leave that the run starts itself."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.offline_run import (
    KILLER,
    PROGRAM,
    SOURCES,
    TINY,
    Outcome,
    checkpoint,
    history,
    only_run,
    record,
    run,
    same,
)  # fmt: skip

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
FIT = ("fit", "--config", "configs/lora.yaml", *TINY, "--data.batch_size", "4")
TWO = ("--trainer.devices", "2")


def torchrun(cwd: Path, *words: str, start: tuple[str, ...] = PROGRAM[1:], die_at: str = "nowhere") -> Outcome:
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache")}
    environment |= {"DIE_AT": die_at, "DIE_RANK": "1"}
    done = subprocess.run(
        [*TORCHRUN, *start, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def two_machines(cwd: Path, *words: str, start: tuple[str, ...] = PROGRAM[1:], die_at: str = "nowhere") -> int:
    """Starts a process on each of what torchrun takes for two machines, and returns the first one's exit code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache")}
    environment |= {"DIE_AT": die_at, "DIE_RANK": "1"}
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1")
    meeting = ("--master_addr", "127.0.0.1", "--master_port", port)
    started = [
        subprocess.Popen(
            [*launcher, *meeting, "--node_rank", str(number), *start, *words, *("--trainer.num_nodes", "2")],
            cwd=cwd,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(2)
    ]
    first, _ = (process.wait(timeout=240) for process in started)
    return first


def srun(cwd: Path, *words: str) -> list[Outcome]:
    """Starts two processes with what SLURM tells those of a step of two tasks on one node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"JOB_ID": "7", "JOB_NAME": "fit", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "NODEID": "0"}
    told |= {"STEP_NUM_TASKS": "2"}
    environment = os.environ | {f"SLURM_{name}": value for name, value in told.items()}
    environment |= {"SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_JOB_NODELIST": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache"), "MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            [*PROGRAM, *words],
            cwd=cwd,
            env=environment | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    ends = [process.communicate(timeout=240) for process in started]
    return [Outcome(process.returncode, *end) for process, end in zip(started, ends, strict=True)]


def assert_same_runs(left: Path, right: Path) -> None:
    states = [checkpoint(path / "checkpoints/last.ckpt") for path in (left, right)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(*(state[part] for state in states)), part
    assert history(left) == history(right)
    assert record(left)["metrics"] == record(right)["metrics"]
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()


def test_a_launched_run_is_the_run_that_starts_its_own_processes(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("own", "torchrun", "srun")}
    for folder in folders.values():
        folder.mkdir()
    own = run([*FIT, *TWO], folders["own"], timeout_s=240)
    assert own.code == 0, own.err
    elastic = torchrun(folders["torchrun"], *FIT, *TWO)
    assert elastic.code == 0, elastic.err
    assert elastic.out.count("run directory:") == 1
    steps = srun(folders["srun"], *FIT, *TWO)
    assert [step.code for step in steps] == [0, 0], steps
    assert "run directory:" in steps[0].out
    assert steps[1].out == ""
    for name in ("torchrun", "srun"):
        assert_same_runs(only_run(folders["own"]), only_run(folders[name]))
        assert record(only_run(folders[name]))["engine"]["processes"] == 2


def test_a_run_of_which_one_process_is_killed_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    assert torchrun(alone, *FIT, *TWO).code == 0
    # The second process alone; the launcher ends the first, which waits for it.
    lost = torchrun(killed, *FIT, *TWO, start=(str(KILLER),), die_at="in_step:3")
    assert lost.code != 0
    assert "[rank0]: Traceback" not in lost.err
    resumed = torchrun(killed, *FIT, *TWO, "--ckpt_path", "last")
    assert resumed.code == 0, resumed.err
    assert "resuming" in resumed.out
    assert_same_runs(only_run(alone), only_run(killed))


def test_what_two_machines_have_begun_as_many_devices_of_one_go_on_with(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    assert run([*FIT, *TWO], alone, timeout_s=240).code == 0
    one = (*FIT, "--trainer.devices", "1")
    assert two_machines(killed, *one, start=(str(KILLER),), die_at="in_step:3") != 0
    resumed = run([*FIT, *TWO, "--ckpt_path", "last"], killed, timeout_s=240)
    assert resumed.code == 0, resumed.err
    assert "resuming" in resumed.out
    assert_same_runs(only_run(alone), only_run(killed))


def test_what_two_processes_have_trained_one_tests_and_two_answer_with(tmp_path: Path) -> None:
    assert torchrun(tmp_path, *FIT, *TWO).code == 0
    trained = only_run(tmp_path)
    words = ["test", "--config", str(trained / "config.yaml"), "--ckpt_path", "last", "--trainer.devices", "1"]
    done = run(words, tmp_path, timeout_s=240)
    assert done.code == 0, done.err
    both = torchrun(tmp_path, *words[:-1], "2")
    assert both.code == 0, both.err
    one, two = (json.loads((path / "metrics.json").read_text()) for path in sorted(trained.glob("test_*")))
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-5)
    (tmp_path / "texts.txt").write_text("a warm film\nthe cast is a bore\nevery scene earns its place\n")
    texts = ("--data.predict_file", "texts.txt", "--output", "answers.jsonl")
    answered = torchrun(tmp_path, "predict", *words[1:-1], "2", *texts)
    assert answered.code == 0, answered.err
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 3


def test_another_number_of_processes_is_one_line(tmp_path: Path) -> None:
    done = torchrun(tmp_path, *FIT, "--trainer.devices", "1")
    errors = [line for line in done.err.splitlines() if "peft_lightning: error:" in line]
    assert len(errors) == 1
    assert "has started 2 processes, and trainer.devices asks for 1: say --trainer.devices 2" in errors[0]
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--trainer.devices", "2", "--trainer.num_nodes", "2"], "say --trainer.num_nodes 1"),
        (["--trainer.devices", "1", "--trainer.num_nodes", "2"], "say --trainer.devices 2 and --trainer.num_nodes 1"),
    ],
)
def test_two_processes_of_one_machine_are_not_taken_for_two_machines(
    words: list[str], expected: str, tmp_path: Path
) -> None:
    done = torchrun(tmp_path, *FIT, *words)
    assert expected in done.err
    assert "IndexError" not in done.err
    assert not (tmp_path / "lightning_logs").exists()


def test_a_job_of_slurm_that_is_one_task_starts_its_processes_itself(tmp_path: Path) -> None:
    told = {"JOB_ID": "7", "JOB_NAME": "fit", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    environment = os.environ | {f"SLURM_{name}": value for name, value in told.items()}
    environment |= {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([*PROGRAM, *FIT, *TWO], cwd=tmp_path, env=environment, check=True, timeout=240)
    assert record(only_run(tmp_path))["engine"]["processes"] == 2


def test_what_one_process_does_is_not_done_by_each_of_two(tmp_path: Path) -> None:
    words = ["compare", "configs/lora.yaml", "--seeds", "1"]
    errors = [line for line in torchrun(tmp_path, *words).err.splitlines() if "peft_lightning: error:" in line]
    assert len(errors) == 1
    assert "torchrun has started 2: start it without torchrun, with --devices_per_run" in errors[0]
    assert not (tmp_path / "lightning_logs").exists()
    one, other = srun(tmp_path, "serve", "lightning_logs/lora/version_0", "--port", "0")
    assert (one.code, other.code, one.out, other.out) == (2, 2, "", "")
    assert "serve answers from one process, and srun has started 2: start it with srun --ntasks=1" in one.err
