from pathlib import Path

from peft_lightning.compare.display.time_left import time_left
from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress
from peft_lightning.runs.record import TimeFigures
from tests.compare.records import record


def waiting(label: str) -> Row:
    return Row(FitJob(label, "seed 1", Path(label), {}))


def running(label: str, elapsed_s: float, step: int = 0, train_s: float = 0.0) -> Row:
    progress = Progress("train", step, 100, train_s) if step else None
    return Row(FitJob(label, "seed 1", Path(label), {}), None, True, elapsed_s, progress)


def finished(label: str) -> Row:
    return Row(FitJob(label, "seed 1", Path(label), {}), Outcome("finished", record=record()))


def test_before_anything_ran_the_forecast_counts() -> None:
    assert time_left([waiting("a"), waiting("b"), waiting("b")], {"a": 10, "b": 100}) == 210


def test_a_run_that_ended_is_believed_more_than_its_forecast() -> None:
    assert time_left([finished("a"), waiting("a"), waiting("b")], {"a": 10, "b": 100}) == 75 + 100


def test_a_run_that_was_not_timed_counts_by_its_process() -> None:
    shared = record()
    shared.not_measured, shared.time = "runs shared the GPU", TimeFigures(steps=100)
    row = Row(FitJob("a", "seed 1", Path("a"), {}), Outcome("finished", record=shared, exit_code=0, wall_s=42.0))
    assert time_left([row, waiting("a")], {"a": 10}) == 42
    row.outcome = Outcome("finished", record=shared)  # in an earlier call
    assert time_left([row, waiting("a")], {"a": 10}) == 10


def test_the_run_under_way_needs_only_the_rest() -> None:
    assert time_left([running("a", 4.0), waiting("a")], {"a": 10}) == 16
    assert time_left([running("a", 12.0)], {"a": 10}) == 0
    # Resumed a moment ago, with most of its training done before.
    assert time_left([running("a", 1.0, step=90, train_s=8.0)], {"a": 10}) == 2


def test_without_a_forecast_a_run_under_way_tells_by_its_steps() -> None:
    assert time_left([waiting("a")], {}) is None
    assert time_left([running("a", 5.0), waiting("a")], {}) is None
    assert time_left([running("a", 5.0, step=25), waiting("a")], {}) == 15 + 20


def test_a_recipe_without_a_forecast_is_taken_to_be_like_the_others() -> None:
    assert time_left([waiting("a"), waiting("b")], {"a": 10}) == 20


def test_several_at_once_take_less_time_but_never_less_than_one_of_them() -> None:
    rows = [waiting("a"), waiting("a"), waiting("a"), waiting("a")]
    assert time_left(rows, {"a": 10}, at_once=2) == 20
    assert time_left(rows[:1], {"a": 10}, at_once=2) == 10


def test_when_all_have_ended_nothing_is_left() -> None:
    failed = Row(FitJob("b", "seed 1", Path("b"), {}), Outcome("failed", "why"))
    assert time_left([finished("a"), failed], {"a": 10, "b": 10}) == 0
