"""Jobs in the queue of a real SLURM: found again, left, cancelled, pre-empted."""

import inspect
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from peft_lightning.compare.execution import shared_folder
from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.execution.executors import slurm as of_slurm
from peft_lightning.compare.execution.executors.slurm import SlurmExecutor, SlurmJob, script_of
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.job import Attempt
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.execution.slurm_queue import _code
from peft_lightning.compare.execution.slurm_settings import SlurmSettings, read_slurm_settings
from peft_lightning.errors import UserError
from tests.compare.execution.slurm_cluster import SCRIPT, running_slurm
from tests.compare.execution.test_warm_starts import Told, fit, wait_for
from tests.conftest import write_reviews
from tests.integration.offline_run import SOURCES, only_run, record


def settings_file(folder: Path, **settings: Any) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partition: [a", "is no YAML"),
        ("- gpu", "must state settings by their names: partition, time, gpus"),
        ("partitions: gpu", "partitions is no setting: there are partition, time"),
        ("time: 12:00:00", 'time must be in quotes, such as time: "02:00:00"'),
        ("gpus: many", "gpus"),
        ("ctrl_c: leave", "ctrl_c"),
        ("environment: {A B: c}", "A B in environment is no name of a variable"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_slurm_settings(path)
    assert str(refused.value).startswith(f"--executor_settings {path}: ")
    assert message in str(refused.value)


def test_settings_become_options_of_sbatch(tmp_path: Path) -> None:
    assert read_slurm_settings(None).words() == []
    path = settings_file(tmp_path, partition="gpu", time="02:00:00", gpus=2, cpus_per_task=8, options=["--nice=10"])
    assert read_slurm_settings(path).words() == [
        *("--partition=gpu", "--time=02:00:00", "--gpus=2", "--cpus-per-task=8", "--nice=10"),
    ]


def test_a_script_says_the_same_to_a_shell_whatever_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    command = ("-c", "import os; print(os.environ['A'], os.environ.get('SLURM_NTASKS'))")
    attempt = Attempt(command, folder / "log.txt", lambda code, s: Outcome("finished"), {"A": "a b'c $d"})
    text = script_of(attempt, SlurmSettings(environment={"A": "less", "B": "x"}, setup='echo "B is $B"\n'), folder)
    (folder / "slurm.sh").write_text(text)
    subprocess.run(["bash", folder / "slurm.sh"], check=True, env=os.environ | {"SLURM_NTASKS": "1"})
    assert (folder / "log.txt").read_text() == "B is x\na b'c $d None\n"
    assert (folder / of_slurm.STARTED).read_text().strip() == os.uname().nodename


def test_a_run_is_not_advised_to_use_srun(tmp_path: Path) -> None:
    said = f"import warnings; warnings.warn({of_slurm.ADVICE + '. HINT: use it'!r}); warnings.warn('another')"
    attempt = Attempt(("-c", said), tmp_path / "log.txt", lambda code, s: Outcome("finished"), {})
    (tmp_path / "slurm.sh").write_text(script_of(attempt, SlurmSettings(), tmp_path))
    for mine in ("", "default::DeprecationWarning"):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        subprocess.run(
            ["bash", tmp_path / "slurm.sh"], check=True, env=environment | ({"PYTHONWARNINGS": mine} if mine else {})
        )
    assert (tmp_path / "log.txt").read_text().count("UserWarning: another") == 2
    assert "HINT" not in (tmp_path / "log.txt").read_text()
    assert of_slurm.ADVICE in inspect.getsource(SLURMEnvironment), "Lightning words it otherwise now"


def test_the_script_that_starts_a_slurm_says_what_it_lacks(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    # As text: another user may not read the sources.
    words = ["bash", "-c", SCRIPT.read_text(), ".ci/slurm.sh", "start", str(tmp_path)]
    lacks = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert (lacks.returncode, lacks.stderr) == (1, ".ci/slurm.sh: SLURM is not installed: .ci/slurm.sh install\n")
    words[4] = "install"
    nobody = subprocess.run(words, capture_output=True, text=True, user=65534)
    assert (nobody.returncode, nobody.stderr.partition(": ")[2]) == (
        1,
        f"install wants to be root: sudo .ci/slurm.sh install {tmp_path}\n",
    )


@pytest.mark.parametrize(("text", "code"), [("3:0", 3), ("0:9", -9), ("0:0", 0), ("", None)])
def test_slurm_s_exit_codes_are_those_of_processes(text: str, code: int | None) -> None:
    assert _code(text) == code


def test_without_slurm_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--executor slurm: there is no squeue here: run compare on a login node"):
        SlurmExecutor().places(None)
    with pytest.raises(UserError, match="--share_gpu is for --executor local and ray"):
        SlurmExecutor(ExecutorOptions(share_gpu=2))


def started_apart(folder: Path, kind: str, first: str) -> "subprocess.CompletedProcess[str]":
    """Starts and stops a SLURM in namespaces of its own, in which everything that it starts ends."""
    words = ["unshare", kind, "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c"]
    if subprocess.run([*words, first], capture_output=True).returncode != 0:
        pytest.skip("no namespaces may be made here")
    then = '"$0" start "$1" && SLURM_CONF="$1/slurm.conf" srun hostname; code=$?; "$0" stop "$1"; exit $code'
    return subprocess.run([*words, f"{first}; {then}", SCRIPT, folder], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_slurm_starts_in_a_container_and_says_what_it_lacks(cluster: None, tmp_path: Path) -> None:
    bare = started_apart(tmp_path / "bare", "--mount", "umount -l /sys/fs/cgroup || true")
    assert (bare.returncode, bare.stdout.strip()) == (0, os.uname().nodename), bare.stderr
    alone = started_apart(tmp_path / "alone", "--net", "ip link set lo up")
    assert (alone.returncode, alone.stderr) == (
        1,
        ".ci/slurm.sh: SLURM wants an address besides loopback: connect a network,"
        " or ip addr add 192.0.2.1/32 dev lo\n",
    )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_slurm(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def place(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and the sources for the nodes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def executor(folder: Path, **settings: Any) -> SlurmExecutor:
    return SlurmExecutor(ExecutorOptions(settings=settings_file(folder, **settings)))


def holding(hold: Path) -> dict[str, str]:
    """Settings with which a job stands still before its program, as long as a file exists."""
    hold.touch()
    return {"setup": f"while [ -e {hold} ]; do sleep 0.05; done"}


def on_its_node(job: SlurmJob, folder: Path) -> None:
    wait_for(lambda: job.running and job.progress() is None and (folder / of_slurm.STARTED).exists())


@pytest.mark.slow
def test_a_job_that_is_left_is_found_again_by_whoever_comes_next(place: Path) -> None:
    hold, job = place / "hold", Told("a", "seed 1", place / "a", {})
    first = executor(place, ctrl_c="detach", **holding(hold)).start(job, None)
    on_its_node(first, job.folder)
    assert first.stays
    first.interrupt()
    first.stop()
    first.kill()
    assert first.running
    again = executor(place, **holding(hold)).start(job, None)
    assert again._number == first._number
    hold.unlink()
    assert again.outcome().exit_code == 0
    assert (job.folder / "log.txt").read_text().count("$ python -m peft_lightning") == 1
    # One of other settings is no longer wanted.
    hold.touch()
    other = executor(place, **holding(hold)).start(job, None)
    on_its_node(other, job.folder)
    anew = executor(place).start(Told("a", "seed 1", place / "a", {"model": {"learning_rate": 1}}), None)
    assert anew._number != other._number
    assert anew.outcome().exit_code == 0
    assert not other.running


@pytest.mark.slow
def test_what_waits_says_why_and_what_is_cancelled_is_a_row(place: Path) -> None:
    hold = place / "hold"
    whole = executor(place, cpus_per_task=os.cpu_count(), **holding(hold))
    running = whole.start(Told("a", "seed 1", place / "a", {}), None)
    on_its_node(running, place / "a")
    waiting = whole.start(Told("b", "seed 1", place / "b", {}), None)
    wait_for(
        lambda: (told := waiting.progress()) is not None and told.stage in ("pending (Resources)", "pending (Priority)")
    )
    assert waiting.elapsed_s == 0
    subprocess.run(["scancel", waiting._number], check=True)
    outcome = waiting.outcome()
    assert (outcome.status, outcome.error) == ("failed", "it was cancelled in SLURM's queue")
    running.kill()
    assert running.wait(60)
    refused = executor(place, partition="nowhere")
    with pytest.raises(UserError, match=r"SLURM refuses .*Invalid partition name.*: see --executor_settings"):
        refused.start(Told("c", "seed 1", place / "c", {}), None)


@pytest.mark.slow
def test_what_the_nodes_write_must_be_seen_here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "VISIBLE_AFTER_S", 1.0)
    job = Told("a", "seed 1", place / "a", {})
    started = executor(place, setup=f"rm {place}/a/{of_slurm.STARTED}").start(job, None)
    with pytest.raises(
        UserError, match=r"what SLURM's nodes write into .*/a is not seen here within 1 s: run compare in"
    ):
        started.outcome()


@pytest.mark.slow
def test_a_run_that_is_preempted_goes_on_from_its_checkpoint(place: Path) -> None:
    reviews, hold = write_reviews(place / "reviews"), place / "hold"
    hold.touch()
    held = {"class_path": "tests.integration.breaking.HeldBy", "init_args": {"file": str(hold)}}
    planned = fit(place / "a", reviews, callbacks=[held])
    often = {"every_n_steps": 1, "max_time_share": 1}
    job = FitJob(planned.label, planned.what, planned.folder, {**planned.settings, "checkpoint": often})
    run = executor(place).start(job, None)
    wait_for(lambda: run.running and any((place / "a").rglob("last.ckpt")))
    urgent = subprocess.run(
        ["sbatch", "--parsable", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    first = run._number
    wait_for(lambda: run.running and run._number != first)
    hold.unlink()
    outcome = run.outcome()
    assert outcome.finished, outcome.error
    assert urgent != run._number
    log = (place / "a" / "log.txt").read_text()
    assert log.count("\nresuming ") == 1
    assert record(only_run(place / "a"))["time"]["steps"] == 4
