"""How a process ended, from its exit code and what it printed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from side_by_side.peer_process import ending, launch

TRACEBACK = "Traceback (most recent call last):\n  File x\n{}\n\n"


class Scripted:
    """An executor that starts no process: a job takes so many looks, and then ends with a code and its figures."""

    elsewhere = False
    stays = False

    def __init__(self, looks: int = 0, exit_code: int = 0, figures: dict[str, Any] | None = None) -> None:
        self.looks, self.exit_code, self.figures = looks, exit_code, figures
        self.killed = False
        self.elapsed_s = 0.0

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        return [None] * (count or 1)

    def start(self, job: Job, place: str | None) -> Scripted:
        self.attempt = job.attempt()
        self.attempt.log.write_text("ValueError: no")
        if self.figures is not None:
            (job.folder / "result.json").write_text(json.dumps(self.figures))
        return self

    @property
    def running(self) -> bool:
        return self.looks > 0

    def progress(self) -> None:
        return None

    def wait(self, patience_s: float) -> bool:
        self.looks, self.elapsed_s = self.looks - 1, self.elapsed_s + 1
        return not self.running

    def outcome(self) -> Outcome:
        return self.attempt.outcome(-signal.SIGKILL if self.killed else self.exit_code, self.elapsed_s)

    def interrupt(self) -> None:
        raise AssertionError("a measurement is not interrupted")

    def stop(self, patience_s: float = 0.0) -> None:
        raise AssertionError("a measurement is not waited for without end")

    def kill(self) -> None:
        self.killed, self.looks = self.running, 0


@pytest.mark.parametrize(
    ("code", "printed", "status"),
    [
        (0, "", "finished"),
        (1, TRACEBACK.format("ValueError: no"), "failed"),
        (1, TRACEBACK.format("torch.OutOfMemoryError: CUDA out of memory. Tried"), "out_of_memory"),
        (2, "peft_lightning: error: the GPU ran out of memory at step 3", "out_of_memory"),
        (-signal.SIGKILL, "", "out_of_memory"),
        (-signal.SIGSEGV, "", "failed"),
    ],
)
def test_a_process_that_dies_is_told_from_one_that_ran_out_of_memory(code: int, printed: str, status: str) -> None:
    assert ending(code, printed)[0] == status


def test_the_last_line_says_what_went_wrong() -> None:
    assert ending(1, TRACEBACK.format("ValueError: no")) == ("failed", "ValueError: no")
    assert ending(-11, "") == ("failed", "exit code -11")


def test_the_last_line_of_a_rank_says_more_than_torchruns() -> None:
    printed = "[rank1]: Traceback\n[rank1]: ValueError: no\nW1 torch/distributed/elastic/api.py:9] Sending\n=====\n"
    assert ending(1, printed) == ("failed", "ValueError: no")
    assert (
        ending(1, "W1 torch/distributed/elastic/api.py:9] it hung\n")[1]
        == "W1 torch/distributed/elastic/api.py:9] it hung"
    )


def test_adapters_without_its_packages_is_not_measured(wanted: Callable[..., Any], tmp_path: Path) -> None:
    record = launch(wanted().job("step", "adapters", "x", "lora", 8, 64), Scripted(), tmp_path, 10)
    assert (record["status"], record["figures"]) == ("not_measured", {})
    assert "--adapters_site" in record["error"]


@pytest.mark.parametrize(
    ("executor", "status", "error"),
    [
        (Scripted(3, 0, {"ms_per_step": 5.0}), "finished", None),
        (Scripted(3, 1), "failed", "ValueError: no"),
        (Scripted(1, 0), "failed", "the process ended well and the clock never saw the last step"),
        (Scripted(100, 0, {"ms_per_step": 5.0}), "timed_out", None),
    ],
)
def test_any_executor_runs_a_peer_within_its_time(
    executor: Scripted, status: str, error: str | None, wanted: Callable[..., Any], tmp_path: Path
) -> None:
    record = launch(wanted().job("step", "lightning", "32-true", "lora", 8, 64), executor, tmp_path, 90)
    assert (record["status"], record["error"]) == (status, error)
    assert executor.killed is (status == "timed_out")
    assert record["process_s"] == executor.elapsed_s <= 90
    assert executor.attempt.command[:2] == ("-m", "side_by_side.process")
    assert executor.attempt.environment["HF_HUB_OFFLINE"] == "1"
    assert not (tmp_path / "process").exists(), "nothing is left for the next"


def test_ranks_are_started_by_torchrun_and_this_projects_by_its_own_flag(
    wanted: Callable[..., Any], tmp_path: Path
) -> None:
    asked = wanted(recipes="decoder", trial_variants=1)
    launch(asked.job("step", "hf-fsdp2", "x", "full", 8, 64, 0, 2), peers := Scripted(), tmp_path, 90)
    assert peers.attempt.command[:4] == ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    assert peers.attempt.command[4:6] == ("-m", "side_by_side.process")
    assert peers.attempt.environment["FSDP_VERSION"] == "2"
    launch(asked.job("step", "ours", "x", "full", 8, 64, 0, 2), ours := Scripted(), tmp_path, 90)
    words = list(ours.attempt.command)
    assert words[words.index("--trainer.devices") + 1] == "2"
    assert words[words.index("--config") + 1] == "configs/decoder/full.yaml"
    assert words[words.index("--data.n_test") + 1] == "2", "a row for each process"
    assert "FSDP_VERSION" not in ours.attempt.environment
