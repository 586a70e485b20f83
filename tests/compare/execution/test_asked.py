from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.comparison import run_list
from peft_lightning.compare.execution.asked import unlike_asked
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.plan.building import build_plan
from tests.compare.plan.test_plan import OFFLINE, STUDY, resolved
from tests.compare.records import leave


def jobs(folder: Path, *overrides: str, seed: int = 1, rate: float | None = None) -> list[Job]:
    plan = build_plan(STUDY[2:], [seed], [OFFLINE], overrides)
    if not (folder / "plan.json").exists():
        plan.write(folder)
    return run_list(plan, folder, {} if rate is None else {"qlora": rate})


def finish(job: Job) -> None:
    """Leaves a finished run, with the settings that `fit` resolves from the job's words."""
    run = leave(job.folder, 0)
    (run / "config.yaml").write_text(yaml.safe_dump(resolved(job.words)))


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
        assert unlike_asked(job) == ()
        finish(job)
        assert unlike_asked(job) == ()


def test_a_run_of_other_settings_is_not_a_job_s(tmp_path: Path) -> None:
    job, other = jobs(tmp_path, "--data.n_train", "400", rate=0.00316)
    finish(job)
    finish(other)
    again, _ = jobs(tmp_path, "--data.n_train", "600", rate=0.001)
    assert unlike_asked(again) == ("model.learning_rate", "data.n_train")
    seeded = Job(job.label, job.what, (*job.words, "--seed_everything", "2"), job.folder)
    assert unlike_asked(seeded) == ("seed_everything",)
    swapped = Job(job.label, job.what, other.words, job.folder)
    assert "model.method.class_path" in unlike_asked(swapped)
    recipe = Path(job.words[job.words.index("--config") + 1])
    recipe.write_text(recipe.read_text().replace("lora_alpha: 32", "lora_alpha: 16"))
    assert unlike_asked(job) == ("model.method.init_args.lora_alpha",)


def test_where_a_comparison_lies_is_no_setting(tmp_path: Path) -> None:
    first, _ = jobs(tmp_path / "first")
    finish(first)
    (tmp_path / "first").rename(tmp_path / "second")
    moved, _ = jobs(tmp_path / "second")
    assert unlike_asked(moved) == ()
