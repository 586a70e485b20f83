import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.compared_runs import run_list
from peft_lightning.compare.stages.earlier_runs import Estimate, device_of, estimate_runs, gpus_of
from peft_lightning.recipes import merge
from peft_lightning.runs.record import DatasetFigures, EnvironmentFigures
from tests.compare.plan.test_plan import recipe
from tests.compare.records import leave, record

HERE = {"gpu": None, "cpu": "a processor, 2 threads"}
DATA: dict[str, Any] = {"n_train": 40, "n_val": 16, "n_test": 24, "batch_size": 8, "eval_batch_size": 8}
# Batches of such a run: 5 to train on, 2 to validate on, 3 to test on; 10 s to start, 60 s of training, 5 s evaluation.
WHOLE_S = 75.0


def jobs(tmp_path: Path, *overrides: str) -> list[FitJob]:
    name = recipe(tmp_path / "lora.yaml", **DATA)
    content = yaml.safe_load(Path(name).read_text()) | {"trainer": {"max_epochs": 1}}
    Path(name).write_text(yaml.safe_dump(content))
    return run_list(Part(build_plan([name], [1, 2], [], overrides), tmp_path / "planned"), {})


def ran(tmp_path: Path, device: str = "a processor, 2 threads", version: int = 0, **changes: Any) -> None:
    """Leaves an earlier run of the recipe below ``logs``."""
    settings = merge(jobs(tmp_path)[0].settings, {"seed_everything": 9, **changes.pop("settings", {})})
    left = record(test_acc=0.5)
    left.predictions = changes.pop("predictions", "predictions.parquet")
    left.environment = EnvironmentFigures("3", "2", "2", "5", "0", None, device, "32", False, None)
    sizes = settings["data"]
    left.dataset = DatasetFigures("films", "f", sizes["n_train"], sizes["n_val"], sizes["n_test"], 64, 0.0)
    run = leave(tmp_path / "logs", version, left, recipe="lora", **changes)
    (run / "config.yaml").write_text(yaml.safe_dump(settings))


def test_a_run_of_the_same_settings_and_another_seed_says_what_one_takes(tmp_path: Path) -> None:
    ran(tmp_path)
    ran(tmp_path, version=1, settings={"model": {"learning_rate": 0.5}})
    found = estimate_runs(jobs(tmp_path), tmp_path / "logs", HERE)
    assert found == {"lora": Estimate(WHOLE_S, 3.0, 2)}
    assert found["lora"].source == "from 2 earlier runs"


def test_one_that_did_another_amount_is_scaled_by_its_batches(tmp_path: Path) -> None:
    ran(tmp_path)
    (estimate,) = estimate_runs(jobs(tmp_path, "--data.n_train", "80"), tmp_path / "logs", HERE).values()
    assert estimate == Estimate(10 + 2 * 60 + 5, 3.0, 1, ("data.n_train",))
    assert estimate.source == "scaled from 1 earlier run of another data.n_train"
    (estimate,) = estimate_runs(jobs(tmp_path, "--trainer.max_epochs", "3"), tmp_path / "logs", HERE).values()
    assert estimate.run_s == pytest.approx(10 + 3 * 60 + 3 * 2 + 3)


def test_a_run_without_a_test_such_as_a_try_of_a_rate_lacks_the_time_of_one(tmp_path: Path) -> None:
    ran(tmp_path, predictions=None)
    (estimate,) = estimate_runs(jobs(tmp_path), tmp_path / "logs", HERE).values()
    # Its 5 s of evaluation were 2 batches; a whole run has 3 more.
    assert estimate == Estimate(10 + 60 + 5 / 2 * 5, 5 / 2 * 3, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "another processor, 8 threads"},
        {"status": "interrupted"},
        {"not_measured": "runs shared the CPU"},
        {"settings": {"data": {"batch_size": 4}}},
        {"settings": {"model": {"gradient_checkpointing": True}}},
        # The recipe states neither, so what will run is whole.
        {"settings": {"trainer": {"limit_train_batches": 2}}},
        {"settings": {"trainer": {"max_time": "00:00:01:00"}}},
    ],
)
def test_a_run_that_says_nothing_of_these_is_not_used(changes: dict[str, Any], tmp_path: Path) -> None:
    ran(tmp_path, **changes)
    stated = jobs(tmp_path, "--model.gradient_checkpointing", "false")
    assert estimate_runs(stated, tmp_path / "logs", HERE) == {}


def test_nothing_there_and_what_is_damaged_tell_nothing(tmp_path: Path) -> None:
    assert estimate_runs(jobs(tmp_path), tmp_path / "logs", HERE) == {}
    ran(tmp_path)
    (tmp_path / "logs/lightning_logs/lora/version_0/config.yaml").write_text("[")
    assert estimate_runs(jobs(tmp_path), tmp_path / "logs", HERE) == {}


def test_a_run_s_device_is_named_as_its_record_will_name_it() -> None:
    gpus = {"gpu": "H200", "cpu": "a processor"}
    assert device_of({}, gpus) == "H200"
    assert device_of({"trainer": {"devices": "2"}}, gpus) == "2 × H200"
    assert device_of({"trainer": {"accelerator": "cpu"}}, gpus) == device_of({}, {**gpus, "gpu": None}) == "a processor"
    assert gpus_of({"trainer": {"devices": "auto"}}) == 1


def test_runs_for_other_machines_take_the_times_of_the_device_that_the_newest_one_had(tmp_path: Path) -> None:
    ran(tmp_path, device="a processor, 2 threads")
    for version, device in enumerate(("H100", "H200"), 1):
        ran(tmp_path, device=device, version=version)
    os.utime(tmp_path / "logs/lightning_logs/lora/version_1/results.json", (1, 1))
    (estimate,) = estimate_runs(jobs(tmp_path), tmp_path / "logs", None).values()
    assert estimate == Estimate(WHOLE_S, 3.0, 1, device="H200")
    assert estimate.source == "from 1 earlier run (H200)"
    (estimate,) = estimate_runs(jobs(tmp_path, "--data.n_test", "48"), tmp_path / "logs", None).values()
    assert estimate.source == "scaled from 1 earlier run of another data.n_test (H200)"
