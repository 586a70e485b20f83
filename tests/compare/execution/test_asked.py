from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.compared_runs import run_list
from peft_lightning.recipes import merge
from tests.compare.plan.test_plan import OFFLINE, STUDY, resolved
from tests.compare.records import leave


def jobs(folder: Path, *overrides: str, seed: int = 1, rate: float | None = None) -> list[FitJob]:
    plan = build_plan(STUDY[2:], [seed], [OFFLINE], overrides)
    if not (folder / "plan.json").exists():
        plan.write(folder)
    return run_list(Part(plan, folder), {} if rate is None else {"qlora": rate})


def finish(job: FitJob) -> None:
    """Leaves a finished run, with the settings that `fit` resolves from the job's."""
    run = leave(job.folder, 0)
    (run / "config.yaml").write_text(yaml.safe_dump(resolved(job.settings)))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("--data.n_train", "400", "--model.learning_rate=1e-3", "--trainer.devices", "1", "--trainer.precision", "32"),
        ("--model.method.r", "4", "--model.method.init_args.lora_alpha", "8", "--trainer.benchmark", "true"),
        ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss"),
        ("--trainer.callbacks+={class_path: LearningRateMonitor}", "--trainer.max_time", "00:01:00:00"),
        ("--trainer.max_epochs", "2", "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "0.5"),
    ],
)
def test_a_run_is_its_own_job_s_however_the_settings_are_written(overrides: tuple[str, ...], tmp_path: Path) -> None:
    for job in jobs(tmp_path, *overrides, rate=0.00316):
        if job.label == "ia3" and "--model.method.r" in overrides:
            continue  # which has no rank
        assert job.unlike() == ()
        finish(job)
        assert job.unlike() == ()


def test_a_run_of_other_settings_is_not_a_job_s(tmp_path: Path) -> None:
    job, other = jobs(tmp_path, "--data.n_train", "400", rate=0.00316)
    finish(job)
    finish(other)
    again, _ = jobs(tmp_path, "--data.n_train", "600", rate=0.001)
    assert again.unlike() == ("model.learning_rate", "data.n_train")
    seeded = replace(job, settings=job.settings | {"seed_everything": 2})
    assert seeded.unlike() == ("seed_everything",)
    swapped = replace(job, settings=other.settings)
    assert "model.method.class_path" in swapped.unlike()
    edited = replace(job, settings=merge(job.settings, {"model": {"method": {"init_args": {"lora_alpha": 16}}}}))
    assert edited.unlike() == ("model.method.init_args.lora_alpha",)


def test_where_a_comparison_lies_is_no_setting(tmp_path: Path) -> None:
    first, _ = jobs(tmp_path / "first")
    finish(first)
    (tmp_path / "first").rename(tmp_path / "second")
    moved, _ = jobs(tmp_path / "second")
    assert moved.unlike() == ()


@pytest.mark.parametrize("content", ["model: [", "", "a: 2024-99-99", "[" * 1000])
def test_settings_that_cannot_be_read_do_not_train_a_run_anew(content: str, tmp_path: Path) -> None:
    run = leave(tmp_path, 0)
    (run / "config.yaml").write_text(content)
    assert unlike_asked({"data": {"n_train": 3}}, tmp_path) == ()
