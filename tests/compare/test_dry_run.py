import io
from pathlib import Path

import pytest
from rich.console import Console

from peft_lightning.compare.dry_run import print_dry_run
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.executors.local import LocalExecutor
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part, Sweep, parts_of, plan_sweep
from peft_lightning.compare.stages.compared_runs import run_list
from peft_lightning.compare.stages.forecast import Forecast, RecipeForecast
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from tests.compare.execution.in_process import InProcess
from tests.compare.plan.test_plan import OFFLINE, STUDY
from tests.compare.records import leave, record

HERE = {"gpu": None, "cpu": "a processor"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shown(parts: tuple[Part, ...], tune: int | None = None, places: int = 1, gpu: str | None = None) -> str:
    out = io.StringIO()
    tunings = [plan_tuning(part.plan, tune) if tune is not None else None for part in parts]
    pool = Pool(LocalExecutor(), [None] * places)
    console = Console(file=out, width=120)
    print_dry_run(parts, tunings, Path("mine"), pool, HERE | {"gpu": gpu}, console)
    return " ".join(out.getvalue().split())


def test_the_jobs_stand_in_their_order_with_what_differs_and_nothing_is_written() -> None:
    sweep = Sweep("data.n_train", ("40", "80"))
    parts = parts_of(sweep, plan_sweep(sweep, STUDY[:2], [1], [OFFLINE]), Path("mine"))
    text = shown(parts, tune=2)
    assert "nothing is started and nothing is written; mine would hold" in text
    assert "1 full n_train 40 rate 2e-05 2 lora n_train 40 rate 2e-05 3 full n_train 40 rate 6.32e-05" in text
    assert "9 full n_train 40 seed 1 10 lora n_train 40 seed 1 11 full n_train 80 seed 1 12 lora n_train 80" in text
    assert "full: model.method.class_path peft_lightning.methods.FullFineTuning" in text
    assert "lora n_train 80 3 – no earlier run on this machine" in text
    assert "12 jobs cannot be forecast without training: compare itself tries a few steps" in text
    assert list(Path().iterdir()) == []


def test_what_is_left_is_forecast_from_what_was_tried_and_counted_in_hours() -> None:
    plan = build_plan(STUDY[:2], [1, 2], [OFFLINE])
    part = Part(plan, Path("mine"))
    Path("mine").mkdir()
    Forecast((RecipeForecast("full", run_s=3600.0), RecipeForecast("lora", run_s=1800.0)), None).write(Path("mine"))
    done, going, *_ = run_list(part, {})
    leave(done.folder, 0, record(test_acc=0.5))
    leave(going.folder, 0, record("interrupted"))
    text = shown((part,), places=2, gpu="H200")
    assert "1 full seed 1 finished 2 lora seed 1 goes on 3 lora seed 2 to run 4 full seed 2 to run" in text
    assert "lora 2 30 min its forecast" in text
    assert "full 1 60 min its forecast" in text
    assert "3 jobs, 2 at a time: about 90 min in all, 2.00 GPU hours" in text
    for job in run_list(part, {}):
        if not job.folder.exists():
            leave(job.folder, 0, record(test_acc=0.5))
    leave(going.folder, 1, record(test_acc=0.5))
    assert "nothing is left to run" in shown((part,))


def test_runs_for_other_machines_are_not_given_the_times_of_this_one() -> None:
    plan = build_plan(STUDY[:2], [1, 2], [OFFLINE])
    executor = InProcess(lambda job: 0)
    executor.elsewhere = True
    out = io.StringIO()
    console = Console(file=out, width=120)
    for label, peak in (("full", "GPU memory"), ("lora", "resident memory")):
        Path("mine").mkdir(exist_ok=True)
        Forecast((RecipeForecast(label, run_s=3600.0, peak_of=peak),), None).write(Path("mine"))
        print_dry_run([Part(plan, Path("mine"))], [None], Path("mine"), Pool(executor, [None]), HERE, console)
    text = " ".join(out.getvalue().split())
    assert "runs go to other machines: times are those of earlier runs on the device that is named" in text
    assert "lora 2 – no earlier run " in text
    assert "2 of 4 jobs, one at a time: about 2.0 h, 2.00 GPU hours; the others are unknown" in text
    assert "2 of 4 jobs, one at a time: about 2.0 h, 0.00 GPU hours; the others are unknown" in text
    assert "no GPU here" not in text
    assert "on this machine" not in text
