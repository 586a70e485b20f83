import json
from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.commands.mends import COMPARISON, mending
from peft_lightning.compare.execution.outcomes import (
    ATTEMPT,
    FAILURE,
    Outcome,
    finished_before,
    forget_failure,
    has_failed,
    keep_failure,
    last_line,
    newest_run,
    outcome_after,
    resumable,
)
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.stages.forecast import Forecast
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from tests.compare.records import leave, record

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def after(folder: Path, code: int, said: str = "", recorded: bool = False) -> Outcome:
    (folder / "log.txt").write_text(said)
    return outcome_after(folder, code, folder / "log.txt", recorded, 1.0)


def test_the_newest_run_is_the_one_with_the_highest_number(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for version in (9, 10, 2):
        leave(tmp_path, version)
    # Killed between the making of its directory and its first record: nothing to go on with.
    (tmp_path / "lightning_logs/lora/version_11").mkdir()
    assert newest_run(tmp_path) == tmp_path / "lightning_logs/lora/version_10"


def test_only_a_newest_record_that_finished_is_not_run_again(tmp_path: Path) -> None:
    leave(tmp_path, 0)
    outcome = finished_before(tmp_path)
    assert outcome is not None
    assert outcome.finished
    assert not resumable(tmp_path)
    leave(tmp_path, 1, record("running"))
    assert finished_before(tmp_path) is None
    assert resumable(tmp_path)


def test_a_record_that_cannot_be_read_is_no_run_to_go_on_with(tmp_path: Path) -> None:
    (leave(tmp_path, 0) / "results.json").write_text("{")
    assert finished_before(tmp_path) is None
    assert not resumable(tmp_path)


@pytest.mark.parametrize("status", ["failed", "out_of_memory", "interrupted"])
def test_what_the_run_recorded_of_its_end_is_believed(status: str, tmp_path: Path) -> None:
    leave(tmp_path, 0, status=status, error="why")
    outcome = after(tmp_path, 2, "peft_lightning: error: something longer\n", recorded=True)
    assert (outcome.status, outcome.error) == (status, "why")


def test_the_record_of_an_earlier_attempt_does_not_speak_for_this_one(tmp_path: Path) -> None:
    leave(tmp_path, 0, status="out_of_memory", error="old")
    outcome = after(tmp_path, 2, "peft_lightning: error: the data has changed\n", recorded=False)
    assert (outcome.status, outcome.error, outcome.mistake) == ("failed", "the data has changed", True)


@pytest.mark.parametrize(
    ("code", "said", "status", "error"),
    [
        (2, "data: 3 reviews\npeft_lightning: error: no column\nlast words of a thread\n", "failed", "no column"),
        (
            1,
            f"Traceback (most recent call last):\n{OUT_OF_MEMORY}\n\n",
            "out_of_memory",
            f"exit code 1: {OUT_OF_MEMORY}",
        ),
        (1, "$ python -m peft_lightning fit\n", "failed", "exit code 1: without a word"),
        (
            1,
            f"{ATTEMPT}fit\npeft_lightning: error: of yesterday\n{ATTEMPT}fit --ckpt_path last\nseed 1\n",
            "failed",
            "exit code 1: seed 1",
        ),
        (-9, "", "failed", "killed by SIGKILL (the machine's memory may have run out)"),
        (-11, "", "failed", "killed by SIGSEGV"),
    ],
)
def test_a_run_that_died_without_a_word_in_its_record_says_why(
    code: int, said: str, status: str, error: str, tmp_path: Path
) -> None:
    leave(tmp_path, 0, record("running"))
    outcome = after(tmp_path, code, said, recorded=True)
    assert (outcome.status, outcome.error) == (status, error)


def test_a_long_log_is_read_from_its_end_only(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("x" * 3_000_000 + "\nthe end\n")
    assert last_line(log) == "the end"
    assert last_line(tmp_path / "nowhere") == ""


def test_a_failure_is_kept_for_the_report_until_the_run_is_tried_again(tmp_path: Path) -> None:
    keep_failure(tmp_path, Outcome("interrupted", "KeyboardInterrupt"))
    assert json.loads((tmp_path / FAILURE).read_text()) == {"status": "failed", "error": "KeyboardInterrupt"}
    keep_failure(tmp_path, Outcome("out_of_memory", "no memory"))
    assert json.loads((tmp_path / FAILURE).read_text())["status"] == "out_of_memory"
    assert has_failed(tmp_path)
    forget_failure(tmp_path)
    forget_failure(tmp_path)
    assert not has_failed(tmp_path)


def test_what_a_comparison_cannot_write_names_a_mend_that_a_comparison_has(tmp_path: Path) -> None:
    plan, place = build_plan(["configs/lora.yaml"], [1]), tmp_path / "in_the_way"
    place.write_text("a file")
    writers: list[Callable[[Path], None]] = [
        lambda folder: keep_failure(folder, Outcome("failed", "why")),
        Forecast((), None).write,
        plan_tuning(plan, 2).write,
    ]
    for write in writers:
        with (
            pytest.raises(
                UserError, match=r"in_the_way.*make its folder writable, then go on with --resume"
            ) as refused,
            mending(COMPARISON),
        ):
            write(place)
        assert "default_root_dir" not in str(refused.value)
