"""Tuning: every method with the same budget, chosen on validation, tested only then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tune_recipes
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.job import Job
from peft_lightning.errors import UserError
from tests.compare.execution.in_process import InProcess
from tests.compare.plan.test_plan import OFFLINE, resolved
from tests.compare.records import leave, record
from tune_recipes import Trial, trial_job, tune

WORDS = ["--data.source", "embedded", "--model.model_name_or_path", "embedded", "--data.n_val", "20"]


def test_a_trial_is_its_tuned_recipe_with_its_own_rate_schedule_and_seed(tmp_path: Path) -> None:
    trial = Trial("lora", "2e-3", "cosine", 42, False)
    job = trial_job(trial, [*WORDS, "--config", OFFLINE, "--data.truncation", "head"], tmp_path)
    config = resolved(job.settings)
    assert (config["model"]["learning_rate"], config["model"]["schedule"]) == (2e-3, "cosine")
    assert (config["seed_everything"], config["recipe"], config["test_after_fit"]) == (
        42,
        "tuned_on_embedded/lora",
        False,
    )
    assert (config["data"]["n_val"], config["data"]["truncation"]) == (20, "head")
    assert Path(config["trainer"]["default_root_dir"]) == job.folder == tmp_path / "lora-2e-3-cosine-42-False"
    with pytest.raises(UserError, match="--seed_everything cannot be overridden"):
        trial_job(trial, ["--seed_everything", "3"], tmp_path)


@pytest.mark.slow
def test_the_best_on_validation_is_tested_with_every_seed_and_nothing_else_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(job: Job) -> int:
        assert isinstance(job, FitJob)
        model = job.settings["model"]
        if model["learning_rate"] == "5e-4" and job.label == "full":
            leave(job.folder, 0, record("failed", "the loss became infinite or NaN between steps 2 and 4"))
            return 2
        best = (model["learning_rate"], model["schedule"]) in (("2e-4", "cosine"), ("1e-3", "linear"))
        metrics = {"val_acc": 0.9 if best else 0.8, "val_loss": 0.5}
        tested = {"test_acc": 0.85} if job.settings["test_after_fit"] else {}
        leave(job.folder, 0, record("finished", None, **metrics, **tested))
        return 0

    executor = InProcess(work)
    tune(WORDS, tmp_path, Pool(executor, [None, None]))
    assert len(executor.commands) == 5 * 5 * 2 + 5 * 3
    lines = capsys.readouterr().out.splitlines()
    assert "tried full  5e-4 cosine failed" in lines
    assert "chosen full  2e-4 cosine test 0.8500 0.8500 0.8500 mean 0.8500" in lines
    assert "chosen head  1e-3 linear test 0.8500 0.8500 0.8500 mean 0.8500" in lines
    records = {path: json.loads(path.read_text()) for path in tmp_path.glob("*/lightning_logs/*/*/results.json")}
    tested = [path.parts[len(tmp_path.parts)] for path, content in records.items() if "test/acc" in content["metrics"]]
    assert sorted(tested)[:3] == ["full-2e-4-cosine-1-True", "full-2e-4-cosine-2-True", "full-2e-4-cosine-3-True"]
    assert len(tested) == 15
    tune(WORDS, tmp_path, Pool(executor, [None]))
    assert len(executor.commands) == 65, "what has its answer is not run again"


def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune_recipes.py", "--reviews", "embedded", "--folder", str(tmp_path), "--test_after_fit", "true"]
    monkeypatch.setattr("sys.argv", words)
    assert tune_recipes.main() == 2
    assert capsys.readouterr().err.startswith("tune_recipes: --test_after_fit cannot be overridden")
