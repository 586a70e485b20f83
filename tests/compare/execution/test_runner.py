import io
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from peft_lightning.compare.execution import places
from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.executor import ExecutorOptions, Pool
from peft_lightning.compare.execution.executors.local import LocalExecutor, LocalProcess
from peft_lightning.compare.execution.fit_job import PROGRESS, FitJob
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome, has_failed, newest_run
from peft_lightning.compare.execution.runner import run_jobs
from peft_lightning.runs.process_start import SHARED
from peft_lightning.runs.progress import VARIABLE, Progress
from tests.compare.execution.in_process import InProcess
from tests.compare.records import leave
from tests.integration.offline_run import SOURCES

# Every interpreter started here says which GPUs it sees, and lasts at least until its job's folder holds no HOLD.
HOLD = "hold"
COLD = ExecutorOptions(cold_starts=True)
SITE = f"""
import os, sys, time
if "peft_lightning" in sys.orig_argv and "peft_lightning.compare.execution.launcher" not in sys.orig_argv:
    print("sees", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    hold, until = os.path.join(os.path.dirname(os.environ["{VARIABLE}"]), "{HOLD}"), time.monotonic() + 600
    while os.path.exists(hold) and time.monotonic() < until:  # no process is left for ever by a test that fails
        time.sleep(0.02)
"""


class Silent:
    """Keeps what a view is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.most_at_once = 0
        self._rows: Sequence[Row] = ()

    def begin(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def started(self, row: Row) -> None:
        self.told.append(f"{row.job.label} starts")
        self.most_at_once = max(self.most_at_once, sum(r.started and r.outcome is None for r in self._rows))

    def update(self) -> None:
        pass

    def ended(self, row: Row) -> None:
        self.told.append(f"{row.job.label} ends")

    def end(self) -> None:
        self.told.append("end")


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{SOURCES}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


class Quick(FitJob):
    """A job whose process ends at once: its settings are those of `fit`, its words ask for less."""

    @property
    def words(self) -> tuple[str, ...]:
        return ("nonsense",) if self.settings.get("nonsense") else ("--version",)


def job(folder: Path, label: str, **settings: Any) -> FitJob:
    return Quick(label, "seed 1", folder / label, settings)


def here(*places: str | None) -> Pool:
    return Pool(LocalExecutor(COLD), places or (None,))


def held(job: FitJob) -> FitJob:
    """A job whose process lasts until it is let go."""
    job.folder.mkdir()
    (job.folder / HOLD).touch()
    return job


def let_go(job: Job) -> None:
    (job.folder / HOLD).unlink()


def test_a_job_that_fails_leaves_the_others_alone_and_says_why(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a", nonsense=True), job(tmp_path, "b")]
    heard: list[tuple[str, Outcome]] = []
    view = Silent()
    outcomes = run_jobs(jobs, here(), view, lambda of, outcome: heard.append((of.label, outcome)))
    assert view.told == ["a starts", "a ends", "b starts", "b ends", "end"]
    assert [outcome.exit_code for outcome in outcomes] == [2, 0]
    assert outcomes[0].mistake
    assert outcomes[0].error is not None
    assert outcomes[0].error.startswith("unknown command 'nonsense'")
    assert has_failed(jobs[0].folder)
    assert heard == [("a", outcomes[0]), ("b", outcomes[1])]
    assert (jobs[0].folder / "log.txt").read_text().startswith("$ python -m peft_lightning nonsense\n")


def test_an_executor_of_another_kind_carries_the_same_jobs(tmp_path: Path) -> None:
    def work(job: Job) -> int:
        Progress("train", 3, 12, 1.0).write(job.folder / PROGRESS)
        if job.label == "b":
            return 2
        leave(job.folder, 0)
        return 0

    class Watching(Silent):
        def update(self) -> None:
            seen.extend(row.status for row in self._rows if row.started)

    seen: list[str] = []
    executor, view = InProcess(work, looks=1), Watching()
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    finished, failed = run_jobs(jobs, Pool(executor, executor.places(1)), view)
    assert view.told == ["a starts", "a ends", "b starts", "b ends", "end"]
    assert seen == ["train", "finished", "finished", "train", "finished", "failed"]
    assert finished.finished
    assert (failed.exit_code, has_failed(jobs[1].folder)) == (2, True)
    assert not (jobs[0].folder / PROGRESS).exists(), "what has ended is not on its way"
    assert run_jobs(jobs[:1], Pool(executor, [None]), Silent())[0].finished
    assert len(executor.commands) == 2


def test_a_job_s_folder_holds_the_settings_that_its_process_is_given(tmp_path: Path) -> None:
    settings = {"seed_everything": 1, "data": {"source": "rezensionen/für alle", "n_train": "400"}}
    fit = FitJob("a", "seed 1", tmp_path / "a", settings)
    executor = InProcess(lambda job: 0)
    run_jobs([fit], Pool(executor, [None]), Silent())
    assert executor.commands == [("-m", "peft_lightning", "fit", "--config", str(fit.file))]
    assert yaml.safe_load(fit.file.read_text()) == settings


def test_what_finished_before_is_not_run_again(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    leave(jobs[0].folder, 0)
    view = Silent()
    first, _ = run_jobs(jobs, here(), view)
    assert view.told == ["b starts", "b ends", "end"]
    assert first.finished
    assert not (jobs[0].folder / "log.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_run_of_other_settings_is_neither_taken_for_a_job_s_own_nor_gone_on_with(
    status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model": {"learning_rate": "1e-3"}, "nonsense": True}
    one = FitJob("a", "seed 1", tmp_path / "a", settings)
    (leave(one.folder, 0, status=status) / "config.yaml").write_text("model: {learning_rate: 2.0e-5}")
    (outcome,) = run_jobs([one], here(), Silent())
    assert outcome.exit_code == 2  # it was started
    assert "a seed 1 trains anew: the run in its folder was of another model.learning_rate" in capsys.readouterr().out
    (leave(one.folder, 1, status=status) / "config.yaml").write_text("model: {learning_rate: 0.001}")
    (outcome,) = run_jobs([one], here(), Silent())
    assert outcome.finished is (status == "finished")
    commands = [line for line in (one.folder / "log.txt").read_text().splitlines() if line.startswith("$")]
    assert ["--ckpt_path last" in line for line in commands] == ([False] if status == "finished" else [False, True])


def test_an_unfinished_run_is_gone_on_with_and_its_log_too(tmp_path: Path) -> None:
    one = job(tmp_path, "a", nonsense=True)
    run_jobs([one], here(), Silent())
    leave(one.folder, 0, status="running")
    (outcome,) = run_jobs([one], here(), Silent())
    commands = [line for line in (one.folder / "log.txt").read_text().splitlines() if line.startswith("$")]
    assert commands == ["$ python -m peft_lightning nonsense", "$ python -m peft_lightning nonsense --ckpt_path last"]
    assert outcome.error is not None
    assert outcome.error.endswith(f"(or delete {one.folder} to train this run anew)")


def test_a_failed_run_that_cannot_be_gone_on_with_is_trained_anew_when_it_is_tried_once_more(tmp_path: Path) -> None:
    failed, stopped = (FitJob(label, "seed 1", tmp_path / label, {}) for label in ("failed", "stopped"))
    leave(failed.folder, 0, status="failed")
    leave(stopped.folder, 0, status="interrupted")
    executor = InProcess(lambda job: 2)
    outcomes = run_jobs([failed, stopped], Pool(executor, [None]), Silent())
    assert [(outcome.error or "").partition(" (")[2] for outcome in outcomes] == [
        "the next --resume trains this run anew)",
        f"or delete {stopped.folder} to train this run anew)",
    ]
    run_jobs([failed, stopped], Pool(executor, [None]), Silent())
    assert ["--ckpt_path" in command for command in executor.commands] == [True, True, False, True]
    assert newest_run(failed.folder) == failed.folder / "lightning_logs/lora/version_0", "it is kept"


def test_a_run_of_a_version_that_can_no_longer_be_read_is_trained_anew(tmp_path: Path) -> None:
    old = FitJob("a", "seed 1", tmp_path / "a", {})
    (leave(old.folder, 0, status="failed") / "results.json").write_text('{"schema": 0}')
    executor = InProcess(lambda job: 0)
    run_jobs([old], Pool(executor, [None]), Silent())
    assert executor.commands == [("-m", "peft_lightning", "fit", "--config", str(old.file))]


@pytest.mark.slow
def test_each_place_has_its_gpu_and_no_more_run_than_there_are_places(tmp_path: Path) -> None:
    jobs = [job(tmp_path, label) for label in "abcd"]
    a, _, c, d = jobs

    class LettingGo(Silent):
        """The first to end is b, whose place c takes; a goes on until then, and c until d has taken a's place."""

        def started(self, row: Row) -> None:
            super().started(row)
            if row.job in (c, d):
                let_go(a if row.job is c else c)

    held(a), held(c)
    view = LettingGo()
    run_jobs(jobs, here("4", "5"), view)
    assert view.most_at_once == 2
    assert view.told[:2] == ["a starts", "b starts"]
    seen = [(one.folder / "log.txt").read_text().splitlines()[1] for one in jobs]
    assert seen == ["sees 4", "sees 5", "sees 5", "sees 4"]


def test_without_places_of_their_own_runs_see_what_the_user_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    one = job(tmp_path, "a")
    run_jobs([one], here(), Silent())
    assert "sees 3" in (one.folder / "log.txt").read_text()


def test_runs_that_share_a_device_are_told_so_and_divide_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "visible_gpus", lambda: ["4", "5"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(32)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    executor = LocalExecutor(ExecutorOptions(share_gpu=8))
    assert len(executor.places(None)) == 16
    told = executor._environment(job(tmp_path, "a").attempt(), "5")
    assert (told["CUDA_VISIBLE_DEVICES"], told[SHARED], told["OMP_NUM_THREADS"]) == ("5", "8", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert executor._environment(job(tmp_path, "a").attempt(), "5")["OMP_NUM_THREADS"] == "3"
    # Fewer at a time than may share have a GPU each.
    assert executor.places(2) == ["4", "5"]
    assert SHARED not in executor._environment(job(tmp_path, "a").attempt(), "5")


def test_what_breaks_the_work_off_ends_the_processes_too(tmp_path: Path) -> None:
    others = psutil.Process().children()  # of tests before, or of whoever runs them

    class Broken(Silent):
        def update(self) -> None:
            raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        run_jobs([held(job(tmp_path, "a"))], here(), Broken())
    assert [child for child in psutil.Process().children() if child not in others] == []


def test_who_reads_along_may_be_gone_when_the_work_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a" / "log.txt"
    reading, writing = os.pipe()
    os.close(reading)

    class Stopped(Silent):
        def update(self) -> None:
            if "sees" in log.read_text():
                raise KeyboardInterrupt

        def end(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    # Flushed at every line: what is left in it cannot fail a second time when it is closed.
    with open(os.dup(writing), "wb", buffering=0) as gone:
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(gone, write_through=True))
        with pytest.raises(KeyboardInterrupt):
            run_jobs([held(job(tmp_path, "a"))], here(), Stopped())
        monkeypatch.undo()
    os.close(writing)
    assert "KeyboardInterrupt" in log.read_text()  # it was told, and had its time to write a record


def test_a_child_dies_with_the_thread_that_started_it_and_so_with_its_process(tmp_path: Path) -> None:
    # The kernel's promise, kept through launcher and exec; the process as a whole is killed in tests/integration.
    children: list[LocalProcess] = []
    log = tmp_path / "a" / "log.txt"

    def start() -> None:
        children.append(LocalExecutor(COLD).start(held(job(tmp_path, "a")), None))
        deadline = time.monotonic() + 200
        while "sees" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "sees" in log.read_text()
    assert children[0].outcome().error == "killed by SIGKILL (the machine's memory may have run out)"
