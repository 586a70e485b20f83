import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from peft_lightning.compare.comparison import Options, begin, begin_sweep, go_on
from peft_lightning.compare.execution import executors, runner
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.laying_out import lay_out
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import FILE as PLAN
from peft_lightning.compare.plan.sweep import FILE, Sweep, plan_sweep
from peft_lightning.compare.stages.tuning import read_tuning
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from tests.commands.holding import held_elsewhere
from tests.compare.execution.in_process import InProcess
from tests.compare.plan.test_plan import OFFLINE, STUDY
from tests.compare.records import leave, record

SWEEP = Sweep("data.n_train", ("40", "80"))
HERE = Options(forecast=False, executor="here")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the jobs that an executor in this process has done; one of them fails when it is first tried."""
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    titles: list[str] = []

    def work(job: Job) -> int:
        assert isinstance(job, FitJob)
        titles.append(job.title)
        tried = (job.folder / "given").exists()
        (job.folder / "given").write_text(str(job.settings["data"]["n_train"]))
        if job.title == "lora n_train 80 seed 2" and not tried:
            return 1
        rate = float(job.settings["model"]["learning_rate"])
        leave(job.folder, 0, record(test_acc=0.5, val_acc=rate if "n_train 40" in job.title else -rate))
        return 0

    executor = InProcess(work)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    return titles


@pytest.mark.slow
def test_a_sweep_runs_every_value_with_one_seed_before_the_next_and_goes_on_with_what_failed(
    tmp_path: Path, done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plans = plan_sweep(SWEEP, STUDY[:2], [1, 2], [OFFLINE])
    assert not begin_sweep(SWEEP, plans, tmp_path, [None, None], HERE)
    first = [f"{label} n_train {value} seed 1" for value in (40, 80) for label in ("full", "lora")]
    second = [f"{label} n_train {value} seed 2" for value in (40, 80) for label in ("lora", "full")]
    assert done == [*first, *second]
    assert {path.read_text() for path in tmp_path.glob("n_train_40/runs/*/*/given")} == {"40"}
    assert {path.read_text() for path in tmp_path.glob("n_train_80/runs/*/*/given")} == {"80"}
    said = capsys.readouterr().out
    assert f"1 of 8 runs did not finish; try them again with --resume {tmp_path}" in said
    assert "At n_train 80: Not finished: lora: 1 failed." in " ".join(said.split())
    done.clear()
    assert go_on(tmp_path, HERE)
    assert done == ["lora n_train 80 seed 2"]
    for place in (tmp_path, tmp_path / "n_train_40", tmp_path / "n_train_80"):
        assert {path.name for path in place.glob("*.*")} >= {"report.html", "table.md", "results.csv"}
    # One value alone is a comparison like any other.
    assert go_on(tmp_path / "n_train_80", HERE)
    assert done == ["lora n_train 80 seed 2"]


@pytest.mark.slow
def test_each_value_has_rates_of_its_own(tmp_path: Path, done: list[str]) -> None:
    plans = plan_sweep(SWEEP, STUDY[1:2], [1], [OFFLINE])
    assert begin_sweep(SWEEP, plans, tmp_path, [plan_tuning(plan, 2) for plan in plans], HERE)
    chosen = [read_tuning(tmp_path / name) for name in SWEEP.folders]
    assert [tuning.chosen["lora"] for tuning in chosen if tuning is not None] == [6.32e-5, 2e-5]
    assert done[-2:] == ["lora n_train 40 seed 1", "lora n_train 80 seed 1"]
    assert len(done) == 6
    assert go_on(tmp_path, HERE)
    assert len(done) == 6


def test_a_sweep_and_a_comparison_do_not_share_a_folder(tmp_path: Path) -> None:
    plans = plan_sweep(SWEEP, STUDY[:1], [1], [OFFLINE])
    whole = build_plan(STUDY[:1], [1], [OFFLINE])
    swept, plain = tmp_path / "swept", tmp_path / "plain"
    swept.mkdir()
    plain.mkdir()
    SWEEP.write(swept)
    lay_out(whole, plain, None)
    for folder in (swept, plain):
        with pytest.raises(UserError, match=f"{folder} already holds a comparison: go on with --resume"):
            begin_sweep(SWEEP, plans, folder, [None, None], HERE)
        with pytest.raises(UserError, match=f"{folder} already holds a comparison: go on with --resume"):
            begin(whole, folder, None, HERE)


@pytest.mark.slow
def test_a_sweep_that_was_killed_while_it_was_laid_out_begins_anew(tmp_path: Path, done: list[str]) -> None:
    plans = plan_sweep(SWEEP, STUDY[:1], [1], [OFFLINE])
    (tmp_path / "n_train_40").mkdir()
    build_plan(STUDY[1:2], [7], [OFFLINE]).write(tmp_path / "n_train_40")
    assert begin_sweep(SWEEP, plans, tmp_path, [None, None], HERE)
    assert done == ["full n_train 40 seed 1", "full n_train 80 seed 1"]


def test_a_sweep_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    plans = plan_sweep(SWEEP, STUDY[:1], [1], [OFFLINE])
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(UserError, match="there is no executor nowhere"):
        begin_sweep(SWEEP, plans, folder, [None, None], Options(executor="nowhere"))
    assert not folder.exists()


@pytest.mark.slow
def test_nobody_goes_on_with_a_value_while_its_sweep_runs(tmp_path: Path, done: list[str]) -> None:
    plans = plan_sweep(SWEEP, STUDY[:1], [1], [OFFLINE])
    assert begin_sweep(SWEEP, plans, tmp_path, [None, None], HERE)
    with (
        held_elsewhere(tmp_path / "n_train_80" / ".lock"),
        pytest.raises(UserError, match="n_train_80 is being worked"),
    ):
        go_on(tmp_path, HERE)
    for place in (tmp_path, tmp_path / "n_train_40"):
        with FileLock(place / ".lock", timeout=1):
            assert (place / (FILE if place == tmp_path else PLAN)).exists()
