import json
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.execution.executor import ExecutorOptions, Pool
from peft_lightning.compare.execution.executors.local import LocalExecutor
from peft_lightning.compare.execution.fit_job import LOG, FitJob
from peft_lightning.compare.execution.outcomes import Outcome, keep_failure
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages import tuning_runs
from peft_lightning.compare.stages.tuning import FILE, Try, Tuning, choose, rates_around, read_tuning, tuning_in_words
from peft_lightning.compare.stages.tuning_runs import plan_tuning, tune, tuning_jobs
from peft_lightning.errors import UserError
from peft_lightning.task import FIRST
from tests.compare.plan.test_plan import OFFLINE, STUDY, recipe, resolved
from tests.compare.records import leave, record

HERE = Pool(LocalExecutor(ExecutorOptions(cold_starts=True)), [None])


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (2, (0.001, 0.00316)),
        (3, (0.000316, 0.001, 0.00316)),
        (4, (0.000316, 0.001, 0.00316, 0.01)),
        (5, (0.0001, 0.000316, 0.001, 0.00316, 0.01)),
    ],
)
def test_the_recipe_s_own_rate_is_among_the_tried(budget: int, expected: tuple[float, ...]) -> None:
    assert rates_around(0.001, budget) == expected


def test_the_own_rate_is_tried_as_it_is_written() -> None:
    assert 1.23456e-4 in rates_around(1.23456e-4, 3)


@pytest.mark.parametrize(
    ("tries", "chosen"),
    [
        ([Try(1, 0.8, 0.5), Try(2, 0.9, 0.9), Try(3, 0.7, 0.1)], 2),
        ([Try(1, 0.9, 0.5), Try(2, 0.9, 0.4), Try(3, 0.9, 0.6)], 2),
        ([Try(1, 0.9, 0.4), Try(2, 0.9, 0.4)], 1),
        ([Try(1, 0.5, 0.7), Try(2), Try(3, 0.5, float("nan"))], 1),
        ([Try(1), Try(2)], 9),
    ],
)
def test_accuracy_chooses_then_the_lower_loss_then_the_lower_rate(tries: list[Try], chosen: float) -> None:
    assert choose(tries, own=9, metric=FIRST.headline) == chosen


def test_a_choice_at_the_end_of_the_range_is_said() -> None:
    tries = (Try(1e-4, 0.6, 0.6), Try(1e-3, 0.8, 0.4))
    tuning = Tuning(2, {"low": tries, "lost": (Try(1e-4), Try(1e-3))}, {"low": 1e-3, "lost": 1e-4})
    low, lost = tuning_in_words(tuning)
    assert "0.001" in low
    assert "highest tried" in low
    assert "no rate could be trained" in lost


def test_a_try_without_a_result_is_no_budget() -> None:
    tries: dict[str, tuple[Try, ...]] = {
        "whole": (Try(1e-4, 0.6, 0.6), Try(1e-3, 0.5, 0.7)),
        "half": (Try(1e-4, 0.6, 0.6), Try(1e-3)),
    }
    tuning = Tuning(2, tries, {"whole": 1e-4, "half": 1e-4})
    assert tuning.tried == {"whole": 2, "half": 1}
    assert not tuning.complete
    assert Tuning(2, {"whole": tries["whole"]}, {"whole": 1e-4}).complete
    assert not Tuning(2, {"whole": tries["whole"]}, {}).complete
    whole, half = tuning_in_words(tuning)
    assert "0.0001 of 2, 60.0 %" in whole
    assert "0.0001 of 1 (1 more without a result), 60.0 %" in half


def test_a_rate_that_diverged_was_tried_and_is_never_chosen() -> None:
    tries = (Try(1e-3, 0.6, 0.6), Try(1e-2, 0.8, 0.4), Try(1e-1, diverged=True))
    assert choose(tries, own=1e-3, metric=FIRST.headline) == 1e-2
    tuning = Tuning(3, {"a": tries}, {"a": 1e-2})
    assert tuning.tried == {"a": 3}
    assert tuning.complete
    # Beyond the chosen rate lies no better one: it is not the highest tried.
    assert tuning_in_words(tuning) == ["a: learning rate 0.01 of 3 (1 of them diverged), 80.0 % validation accuracy"]


@pytest.mark.slow
def test_a_rate_that_diverged_is_not_run_again_and_one_that_failed_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = build_plan(STUDY[:1], [1], [OFFLINE], ["--nonsense", "1"])  # refused by `fit`, where one is started
    plan.write(tmp_path)
    tuning = plan_tuning(plan, 2)
    fine, broken = tuning_jobs(Part(plan, tmp_path), tuning)
    leave(fine.folder, 0, record(val_acc=0.75, val_loss=0.5))
    error = "the loss became infinite or NaN between steps 2 and 4: lower --model.learning_rate"
    leave(broken.folder, 0, record("failed", error))
    keep_failure(broken.folder, Outcome("failed", error))
    (done,) = tune([(Part(plan, tmp_path), tuning)], HERE, {})
    assert not (broken.folder / LOG).exists()
    assert "tried again" not in capsys.readouterr().out
    low, high = done.tries["full"]
    assert (low.validation, low.diverged, high.validation, high.diverged) == (0.75, False, None, True)
    assert done.complete
    assert read_tuning(tmp_path) == done

    leave(broken.folder, 1, record("failed", "the disk is on fire"))
    with pytest.raises(UserError, match="nonsense"):
        tune([(Part(plan, tmp_path), tuning)], HERE, {})
    assert (broken.folder / LOG).exists()
    assert f"tried again, because they failed: {broken.title}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "kept"), [("the loss became infinite or NaN between steps 2 and 4", False), ("the disk is on fire", True)]
)
def test_weights_are_kept_only_of_a_try_that_runs_again(
    error: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = build_plan(STUDY[:1], [1], [OFFLINE])
    plan.write(tmp_path)
    runs: list[Path] = []

    def trained(jobs: list[FitJob], pool: Any, view: Any, after: Any, before: Any) -> list[Outcome]:
        outcomes = [Outcome("finished", record=record(val_acc=0.75)), Outcome("failed", error, record("failed", error))]
        for job, outcome in zip(jobs, outcomes, strict=True):
            runs.append(leave(job.folder, 0, outcome.record))
            (runs[-1] / "checkpoints").mkdir()
            after(job, outcome)
        return outcomes

    monkeypatch.setattr(tuning_runs, "run_jobs", trained)
    tune([(Part(plan, tmp_path), plan_tuning(plan, 2))], HERE, {})
    assert [(run / "checkpoints").exists() for run in runs] == [False, kept]


def test_a_tuning_of_before_rates_diverged_reads(tmp_path: Path) -> None:
    tuning = Tuning(2, {"a": (Try(1e-4, 0.6, 0.6), Try(1e-3))}, {"a": 1e-4}, 1000)
    tuning.write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    for one in content["tries"]["a"]:
        del one["diverged"]
    (tmp_path / FILE).write_text(json.dumps(content))
    assert read_tuning(tmp_path) == tuning


def test_a_tuning_reads_back_and_one_that_was_never_asked_for_is_none(tmp_path: Path) -> None:
    assert read_tuning(tmp_path) is None
    tuning = Tuning(2, {"a": (Try(1e-4, 0.6, 0.6), Try(1e-3))}, {"a": 1e-4}, 1000)
    tuning.write(tmp_path)
    assert read_tuning(tmp_path) == tuning
    for text in ("{", "[]", '{"schema": 1}', '{"schema": 9}'):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(UserError, match=r"tuning\.json"):
            read_tuning(tmp_path)


def test_all_recipes_get_the_same_number_of_rates_one_seed_and_no_test(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [1000, 1], [OFFLINE])
    plan.write(tmp_path)
    jobs = tuning_jobs(Part(plan, tmp_path), plan_tuning(plan, 3))
    assert [job.label for job in jobs] == ["full", "lora"] * 3
    assert len({job.folder for job in jobs}) == 6
    configs = [resolved(job.settings) for job in jobs]
    assert {config["seed_everything"] for config in configs} == {1001}  # 1000 is a seed of the comparison
    assert {config["test_after_fit"] for config in configs} == {False}
    for label in ("full", "lora"):
        rates = [c["model"]["learning_rate"] for c, job in zip(configs, jobs, strict=True) if job.label == label]
        assert rates == [6.32e-6, 2e-5, 6.32e-5]


def test_a_rate_that_yaml_takes_for_a_text_and_one_that_is_missing_are_read(tmp_path: Path) -> None:
    text, missing = tmp_path / "text.yaml", tmp_path / "missing.yaml"
    recipe(missing)
    recipe(text)
    text.write_text(text.read_text().replace("model:", "model:\n  learning_rate: 1e-3"))
    tuning = plan_tuning(build_plan([str(text), str(missing)], [1]), 2)
    assert [tries[0].learning_rate for tries in tuning.tries.values()] == [1e-3, 2e-5]


@pytest.mark.parametrize(
    ("overrides", "budget", "message"),
    [
        (["--model.learning_rate", "1e-3"], 3, "--model.learning_rate states: leave one"),
        (["--model.learning_rate=1e-3"], 3, "--model.learning_rate states: leave one"),
        ([], 1, "--tune 1: a choice takes 2"),
        ([], 0, "--tune 0"),
    ],
)
def test_what_leaves_nothing_to_choose_is_refused(overrides: list[str], budget: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_tuning(build_plan(STUDY, [1], [], overrides), budget)
