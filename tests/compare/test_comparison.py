import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from peft_lightning.compare.comparison import Options, begin, go_on, pool_for, report
from peft_lightning.compare.execution import executors
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import LOG, FitJob
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import ONE_LINE, Outcome, keep_failure, newest_run
from peft_lightning.compare.laying_out import lay_out
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import FILE
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.compared_runs import run_list
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from peft_lightning.runs.record import BackboneFigures, Status
from tests.compare.execution.in_process import InProcess
from tests.compare.plan.test_plan import OFFLINE, STUDY, printed_config, recipe, resolved
from tests.compare.records import leave, record

LAUNCHING = {"config", "ckpt_path", "recipe", "test_after_fit", "rehearsal", "live", "live_interval_s"}
# A report without texts names no folders of this machine either.
PLACE = "/home/somebody/roberta"


def test_texts_that_were_left_out_once_stay_out_whoever_goes_on(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:1], [1], [OFFLINE])
    for name, asked in (("shown", True), ("left_out", False)):
        folder = tmp_path / name
        folder.mkdir()
        lay_out(plan, folder, None, texts=asked)
        job = run_list(Part(plan, folder), {})[0]
        leave(job.folder, 0, record(test_acc=0.5), backbone=BackboneFigures(PLACE, None, "sha", "roberta"))
        assert go_on(folder, Options())
        assert (PLACE in (folder / "results.csv").read_text()) is asked
    assert go_on(tmp_path / "shown", Options(texts=False))
    assert go_on(tmp_path / "shown", Options())
    assert PLACE not in (tmp_path / "shown" / "results.csv").read_text()


def test_what_is_left_to_run_is_run_where_its_paths_lead_and_what_is_not_is_reported_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, elsewhere = tmp_path / "begun", tmp_path / "elsewhere"
    (begun / "reviews").mkdir(parents=True)
    elsewhere.mkdir()
    monkeypatch.chdir(begun)
    plan = build_plan(STUDY[:1], [1], [OFFLINE], ["--data.source", "reviews"])
    folder = begun / "mine"
    folder.mkdir()
    lay_out(plan, folder, None)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UserError, match=rf"data\.source reviews .*: cd {begun} and .*--resume {folder}$"):
        go_on(folder, Options())
    assert not (folder / "runs").exists()
    leave(run_list(Part(plan, folder), {})[0].folder, 0, record(test_acc=0.5))
    assert go_on(folder, Options())
    assert (folder / "report.html").is_file()


def test_an_executor_that_is_registered_carries_a_comparison_to_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(job: Job) -> int:
        leave(job.folder, 0, record(test_acc=0.5))
        return 0

    executor = InProcess(work)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    options = Options(jobs=2, forecast=False, executor="here")
    assert begin(build_plan(STUDY[:2], [1, 2], [OFFLINE]), tmp_path, None, options)
    assert len(executor.commands) == 4
    assert (tmp_path / "report.html").is_file()
    with pytest.raises(UserError, match="there is no executor nowhere: choose one of local"):
        go_on(tmp_path, Options(executor="nowhere"))


def test_settings_that_are_refused_ahead_start_nothing_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(parts: Sequence[Part], pool: Pool) -> None:
        raise UserError(f"{parts[0].plan.recipes[0].label}: no for {pool.places}")

    executor = InProcess(lambda job: 0)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(UserError, match=r"^full: no for \['here 0'\]$"):
        begin(build_plan(STUDY[:2], [1], [OFFLINE]), folder, None, Options(executor="here"), refuse)
    assert executor.commands == []
    assert not folder.exists()


@pytest.mark.slow
def test_a_comparison_begun_before_jobs_had_files_goes_on_and_finds_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--data.n_train", "96", "--checkpoint.every_n_steps", "5"]
    plan = build_plan(STUDY[:3], [1], [OFFLINE], words)
    plan.write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(content | {"schema": 2, "overrides": words}))
    finished, cut, waiting = run_list(Part(plan, tmp_path), {})
    statuses: tuple[Status, Status] = ("finished", "interrupted")
    for job, status in zip((finished, cut), statuses, strict=True):
        run = leave(job.folder, 0, record(status, test_acc=0.5))
        flags = ("--seed_everything", "1", "--trainer.default_root_dir", str(job.folder))
        recipe = ("--config", f"configs/study/{job.label}.yaml", "--config", OFFLINE)
        config = printed_config("fit", *recipe, *words, *flags)
        (run / "config.yaml").write_text(yaml.safe_dump({key: config[key] for key in config if key not in LAUNCHING}))

    def work(job: Job) -> int:
        leave(job.folder, 1, record(test_acc=0.5))
        return 0

    executor = InProcess(work)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    assert go_on(tmp_path, Options(executor="here"))
    assert [command[4:] for command in executor.commands] == [
        (str(cut.file), "--ckpt_path", "last"),
        (str(waiting.file),),
    ]


@pytest.mark.slow
def test_learning_rates_and_runs_of_other_settings_than_the_plan_s_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def work(job: Job) -> int:
        assert isinstance(job, FitJob)
        done.append(job.title)
        run = leave(job.folder, len(list(job.folder.glob("lightning_logs/*/*"))), record(test_acc=0.5, val_acc=0.5))
        (run / "config.yaml").write_text(yaml.safe_dump(resolved(job.settings)))
        return 0

    executor = InProcess(work)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    options = Options(forecast=False, executor="here")
    plan = build_plan(STUDY[1:2], [1], [OFFLINE], ["--data.n_train", "400"])
    assert begin(plan, tmp_path, plan_tuning(plan, 2), options)
    everything = ["lora rate 2e-05", "lora rate 6.32e-05", "lora seed 1"]
    assert done == everything
    assert go_on(tmp_path, options)
    assert done == everything
    (tmp_path / FILE).unlink()
    build_plan(STUDY[1:2], [1], [OFFLINE], ["--data.n_train", "600"]).write(tmp_path)
    assert go_on(tmp_path, options)
    assert done == [*everything, *everything]
    assert "trains anew: the run in its folder was of another data.n_train" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["runs", "tuning"])
def test_a_new_plan_does_not_adopt_the_runs_that_lie_in_its_folder(part: str, tmp_path: Path) -> None:
    leave(tmp_path / part / "lora/seed_1", 0)
    with pytest.raises(UserError, match=r"holds runs, but no plan.*choose another --name or remove it"):
        begin(build_plan(STUDY[:2], [1], [OFFLINE]), tmp_path, None, Options())
    assert not (tmp_path / FILE).exists()
    assert newest_run(tmp_path / part / "lora/seed_1") is not None


def test_a_recipe_that_names_the_cpu_is_not_spread_over_gpus(tmp_path: Path) -> None:
    name = recipe(tmp_path / "cpu.yaml")
    content = yaml.safe_load(Path(name).read_text()) | {"trainer": {"accelerator": "cpu"}}
    Path(name).write_text(yaml.safe_dump(content))
    assert pool_for([build_plan([name], [1])], Options()).places == [None]
    with pytest.raises(UserError, match="accelerator is cpu"):
        pool_for([build_plan([name], [1])], Options(jobs=2))


def test_a_comparison_of_which_no_run_finished_has_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = build_plan(STUDY[:2], [1], [OFFLINE])
    plan.write(tmp_path)
    jobs = run_list(Part(plan, tmp_path), {})
    refused = Outcome("failed", "no such column", None, 2)
    with pytest.raises(UserError, match=r"no run of .* has begun \(full seed 1: no such column\)"):
        report(tmp_path, jobs, [refused, refused], Options())
    leave(jobs[0].folder, 0, record("failed", "the loss became NaN"))
    jobs[1].folder.mkdir(parents=True)
    keep_failure(jobs[1].folder, refused)
    report(tmp_path, jobs, [Outcome("failed", "the loss became NaN", record("failed"), 2), refused], Options())
    assert "2 of 2 runs did not finish" in capsys.readouterr().out
    for said in ("the loss became NaN", "no such column"):
        assert said in (tmp_path / "report.html").read_text()


def test_a_mistake_that_no_forecast_has_found_ends_the_comparison_before_anything_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"full", "lora"}

    def work(job: Job) -> int:
        if job.label not in wrong:
            leave(job.folder, 0, record(test_acc=0.5))
            return 0
        with (job.folder / LOG).open("a") as log:
            log.write(f"{ONE_LINE}the training split has 9 rows\n")
        return 2

    executor = InProcess(work)
    monkeypatch.setitem(sys.modules, f"{executors.__name__}.here", SimpleNamespace(EXECUTOR=lambda options: executor))
    options, plan, folder = (
        Options(forecast=False, executor="here"),
        build_plan(STUDY[:2], [1], [OFFLINE]),
        tmp_path / "a",
    )
    folder.mkdir()
    with pytest.raises(UserError, match=r"^full: the training split has 9 rows$"):
        begin(plan, folder, None, options)
    assert len(executor.commands) == 1
    assert not folder.exists()
    # Somebody else's machine may still have its other runs in a queue.
    executor.elsewhere = True
    folder.mkdir()
    again = rf"no run of {folder} has begun \(full seed 1: the .*--resume {folder} --executor here tries again$"
    for _ in range(2):
        with pytest.raises(UserError, match=again):
            go_on(folder, options) if (folder / FILE).exists() else begin(plan, folder, None, options)
    assert len(executor.commands) == 3
    # One recipe's own mistake costs the others nothing once they train.
    wrong.remove("full")
    assert not go_on(folder, options)
    assert "1 of 2 runs did not finish" in capsys.readouterr().out
    assert "the training split has 9 rows" in (folder / "report.html").read_text()
