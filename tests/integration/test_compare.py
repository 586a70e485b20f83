"""Whole comparisons in real processes: killed, interrupted, with runs that fail, with learning rates to choose."""

import csv
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.compare.plan.comparison_folder import NO_TEXTS
from peft_lightning.compare.plan.plan import read_plan
from tests.integration.breaking import HELD_IN, VARIABLE
from tests.integration.offline_run import PROGRAM, SOURCES, Outcome, history, record, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

FOLDER = Path("lightning_logs/compare/mine")
RECIPES = ("configs/tuned_on_embedded/lora.yaml", "configs/tuned_on_embedded/ia3.yaml")
SMALL = (
    *("--overlay", "configs/offline.yaml", "--name", "mine", "--data.n_train", "32", "--data.n_val", "16"),
    *("--data.n_test", "24", "--data.max_length", "32", "--trainer.accelerator", "cpu"),
    *("--trainer.log_every_n_steps", "1", "--checkpoint.every_n_steps", "1", "--checkpoint.max_time_share", "1"),
)
SIGKILLED, INTERRUPTED = -9, 130
PATIENCE_S = 800.0


def compare(cwd: Path, *words: str) -> Outcome:
    """Runs a comparison to its end."""
    return run(["compare", *words], cwd, timeout_s=PATIENCE_S)


def holdable(cwd: Path) -> tuple[str, str]:
    """An overlay with which a run stands still in its third step, where HELD_IN names its folder."""
    path = cwd / "holdable.yaml"
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": [{"class_path": "tests.integration.breaking.Held"}]}}))
    return "--overlay", str(path)


def holding(cwd: Path, place: str) -> dict[str, str]:
    """The environment of a comparison whose run in a folder, such as runs/lora/seed_1, stands still."""
    return os.environ | {"PYTHONPATH": str(SOURCES), "XDG_CACHE_HOME": str(cwd / "cache"), HELD_IN: f"/{place}"}


@contextmanager
def comparing(cwd: Path, place: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a comparison whose run in a folder stands still, and leaves nothing of it behind."""
    with (cwd / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            [*PROGRAM, "compare", *words], cwd=cwd, env=holding(cwd, place), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Waits until something is so, as long as the process that brings it about lives."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert process is None or process.poll() is None, "the comparison ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended is listed until its parent, at last init, asks how."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_in(cwd: Path, place: str, *words: str) -> None:
    """Starts a comparison and kills it, by SIGKILL, in the training of one of its runs."""
    folder = cwd / FOLDER / place
    with comparing(cwd, place, *words) as process:
        wait_for(lambda: any(folder.glob("lightning_logs/*/*/checkpoints/last.ckpt")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        assert process.wait() == SIGKILLED
        until = time.monotonic() + 100
        while (orphans := [child for child in children if is_alive(child)]) and time.monotonic() < until:
            time.sleep(0.05)
        for orphan in orphans:
            orphan.kill()
        assert orphans == [], "an orphan went on training"
    left = newest_run(folder)
    assert left is not None
    assert record(left)["status"] == "running"


def runs_of(cwd: Path) -> dict[str, Path]:
    """The run directories of a comparison, by recipe and seed."""
    found = {f"{one.label} {one.seed}": newest_run(one.folder) for one in read_plan(cwd / FOLDER).runs(cwd / FOLDER)}
    assert None not in found.values()
    return found  # type: ignore[return-value]


def counted(cwd: Path) -> list[dict[str, str]]:
    """The rows of results.csv, without what a clock or a memory gauge said."""
    with (cwd / FOLDER / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if not name.startswith(("time/", "memory/"))} for row in rows]


def tabulated(cwd: Path) -> list[dict[str, str]]:
    """The rows of table.md, without what a clock or a memory gauge said."""
    lines = (cwd / FOLDER / "table.md").read_text().splitlines()
    titles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    measured = ("train time", "samples/s", "CPU memory")
    named = [dict(zip(titles, row, strict=True)) for row in rows]
    return [{title: row[title] for title in row if not title.startswith(measured)} for row in named]


def test_a_comparison_killed_twice_and_resumed_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    words = (*RECIPES, *SMALL, *holdable(tmp_path), "--seeds", "1", "--trainer.max_epochs", "3", "--no_forecast")
    outcome = compare(alone, *words)
    assert outcome.code == 0, outcome.err
    kill_in(killed, "runs/lora/seed_1", *words)
    kill_in(killed, "runs/ia3/seed_1", "--resume", str(FOLDER))
    outcome = compare(killed, "--resume", str(FOLDER))
    assert outcome.code == 0, outcome.err
    assert "runs: 2, 1 of them finished before" in outcome.out
    ours, theirs = runs_of(alone), runs_of(killed)
    assert ours.keys() == theirs.keys() == {"lora 1", "ia3 1"}
    for name, path in ours.items():
        other = theirs[name]
        left, right = record(path), record(other)
        for part in ("status", "metrics", "params", "dataset", "config_sha256", "seed", "checkpoint_bytes"):
            assert left[part] == right[part], (name, part)
        assert left["recipe"] == right["recipe"] == f"tuned_on_embedded/{name.split()[0]}"
        assert left["time"]["steps"] == right["time"]["steps"] == 12
        assert (path / "predictions.parquet").read_bytes() == (other / "predictions.parquet").read_bytes()
        assert history(path) == history(other)
        # Gone on with where it was, not begun again.
        log = (killed / FOLDER / f"runs/{name.replace(' ', '/seed_')}/log.txt").read_text()
        assert log.count("\nresuming ") == 1
        assert "from the start" not in log
    assert [(row["recipe"], row["status"]) for row in counted(alone)] == [("lora", "finished"), ("ia3", "finished")]
    assert all(row["test/acc"] and row["params/trainable"] for row in counted(alone))
    assert counted(alone) == counted(killed)
    assert [row["recipe"] for row in tabulated(alone)] == ["lora", "ia3"]
    assert "test accuracy" in tabulated(alone)[0]
    assert tabulated(alone) == tabulated(killed)


def test_ctrl_c_in_a_terminal_lets_the_run_write_its_record_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = [*RECIPES[:1], *SMALL, *holdable(tmp_path), "--seeds", "1", "--trainer.max_epochs", "3"]
    words += ["--no_forecast", "--no_texts"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        # Tests that a shell runs in the background are deaf to Ctrl-C, and what they start is too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        environment = holding(tmp_path, "runs/lora/seed_1")
        environment |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "30"}
        os.execve(PROGRAM[0], [*PROGRAM, "compare", *words], environment)
    shown = bytearray()
    typed = False
    try:
        while True:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            checkpoints = (tmp_path / FOLDER).glob("runs/lora/seed_1/lightning_logs/*/*/checkpoints/last.ckpt")
            # The table is drawn now and then: a checkpoint is there before it says so.
            if not typed and b"training" in shown and b"/12" in shown and any(checkpoints):
                os.write(terminal, b"\x03")
                typed = True
    finally:
        os.close(terminal)  # which ends what has not ended yet
    _, status = os.waitpid(pid, 0)
    text = shown.decode()
    assert os.waitstatus_to_exitcode(status) == INTERRUPTED, text
    assert f"go on with python -m peft_lightning compare --resume {FOLDER}" in " ".join(text.split())
    assert "Traceback" not in text
    stopped = record(runs_of(tmp_path)["lora 1"])
    assert stopped["status"] == "interrupted"
    assert 0 < stopped["time"]["steps"] < 12
    outcome = compare(tmp_path, "--resume", str(FOLDER))
    assert outcome.code == 0, outcome.err
    assert record(runs_of(tmp_path)["lora 1"])["time"]["steps"] == 12
    assert (tmp_path / FOLDER / NO_TEXTS).exists()  # and the report keeps to it: tests/compare/test_comparison.py


def test_ctrl_c_that_ends_tee_too_lets_the_run_write_its_record_all_the_same(tmp_path: Path) -> None:
    words = [*RECIPES[:1], *SMALL, *holdable(tmp_path), "--seeds", "1", "--trainer.max_epochs", "3", "--no_forecast"]
    process = subprocess.Popen(
        [*PROGRAM, "compare", *words],
        cwd=tmp_path,
        env=holding(tmp_path, "runs/lora/seed_1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests that a shell runs in the background are deaf to Ctrl-C, and what they start is too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        run_folder = tmp_path / FOLDER / "runs/lora/seed_1"
        wait_for(lambda: any(run_folder.glob("lightning_logs/*/*/checkpoints/last.ckpt")), process)
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(200) == INTERRUPTED
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert record(runs_of(tmp_path)["lora 1"])["status"] == "interrupted"


def broken_recipe(cwd: Path, name: str, how: str) -> str:
    """A recipe whose runs break in their third step."""
    content = yaml.safe_load((SOURCES / "configs/tuned_on_embedded/lora.yaml").read_text())
    content["trainer"]["callbacks"] = [{"class_path": f"tests.integration.breaking.{how}"}]
    path = cwd / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_what_fails_becomes_a_row_while_the_others_go_on_and_is_tried_again_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    broken = [broken_recipe(tmp_path, *of) for of in (("big", "OutOfMemory"), ("bad", "Crash"), ("gone", "Killed"))]
    words = ("--seeds", "1", "--trainer.max_epochs", "1", "--no_forecast")
    outcome = compare(tmp_path, *broken, RECIPES[0], *SMALL, *words)
    assert outcome.code == 1, outcome.err
    lines = outcome.out.splitlines()
    assert "[1/4] big seed 1: out of memory: CUDA out of memory. Tried to allocate 2.00 GiB." in "\n".join(lines)
    assert any(line.startswith("[2/4] bad seed 1: failed: the disk is on fire") for line in lines)
    assert any(line.startswith("[3/4] gone seed 1: failed: killed by SIGKILL") for line in lines)
    assert any(line.startswith("[4/4] lora seed 1: finished, ") for line in lines)
    assert f"3 of 4 runs did not finish; try them again with --resume {FOLDER}" in outcome.out
    failures = {label: failure(tmp_path, label) for label in ("big", "bad", "gone", "lora")}
    assert {label: kept and kept["status"] for label, kept in failures.items()} == {
        "big": "out_of_memory",
        "bad": "failed",
        "gone": "failed",
        "lora": None,
    }
    page = (tmp_path / FOLDER / "report.html").read_text()
    assert "the disk is on fire" in page

    monkeypatch.delenv(VARIABLE)
    log = (tmp_path / FOLDER / "runs/lora/seed_1/log.txt").read_bytes()
    outcome = compare(tmp_path, "--resume", str(FOLDER))
    assert outcome.code == 0, outcome.err
    assert "tried again, because they failed: big seed 1, bad seed 1, gone seed 1" in outcome.out
    assert {failure(tmp_path, label) for label in failures} == {None}
    assert {record(path)["status"] for path in runs_of(tmp_path).values()} == {"finished"}
    assert (tmp_path / FOLDER / "runs/lora/seed_1/log.txt").read_bytes() == log


def failure(cwd: Path, label: str) -> dict[str, Any] | None:
    """What is kept of a run's failure."""
    path = cwd / FOLDER / f"runs/{label}/seed_1/failure.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_a_mistake_in_a_recipe_is_said_before_anything_runs_and_leaves_nothing(tmp_path: Path) -> None:
    content = yaml.safe_load((SOURCES / "configs/tuned_on_embedded/lora.yaml").read_text())
    content["model"]["learning_rat"] = 1e-3
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(content))
    outcome = compare(tmp_path, "odd.yaml", *RECIPES, *SMALL, "--seeds", "1")
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("peft_lightning: error: odd: ")
    assert "learning_rat" in line
    assert not (tmp_path / FOLDER).exists()  # the same command runs once the recipe is mended


def test_a_loss_that_is_no_number_any_more_is_a_row_of_a_report_even_where_no_run_finishes(tmp_path: Path) -> None:
    words = ("--seeds", "1", "--trainer.max_epochs", "1", "--model.learning_rate", "1e30")
    outcome = compare(tmp_path, RECIPES[0], *SMALL, *words)
    assert outcome.code == 1, outcome.err
    assert "forecast: lora: failed: " in outcome.out
    assert "[1/1] lora seed 1: failed: " in outcome.out
    assert "became infinite or NaN" in outcome.out
    assert f"1 of 1 runs did not finish; try them again with --resume {FOLDER}" in outcome.out
    assert "became infinite or NaN" in (tmp_path / FOLDER / "report.html").read_text()


def test_tuning_goes_on_after_a_kill_never_tests_and_hands_its_rate_to_the_runs(tmp_path: Path) -> None:
    words = (RECIPES[0], *SMALL, *holdable(tmp_path), "--seeds", "1", "--trainer.max_epochs", "3", "--tune", "2")
    kill_in(tmp_path, "tuning/lora/rate_1", *words)
    folder = tmp_path / FOLDER
    forecast = json.loads((folder / "forecast.json").read_text())
    of_lora = forecast["recipes"][0]
    assert of_lora["steps"] == 12
    # Not more than startup_s, which is read off another clock, to the second.
    assert of_lora["run_s"] > of_lora["steps"] * of_lora["step_s"] > 0
    assert of_lora["startup_s"] > 0
    assert not (folder / "forecast").exists()
    first = (folder / "tuning/lora/rate_0/log.txt").read_bytes()
    assert json.loads((folder / "tuning.json").read_text())["chosen"] == {}

    outcome = compare(tmp_path, "--resume", str(FOLDER))
    assert outcome.code == 0, outcome.err
    assert "forecast:" not in outcome.out
    assert (folder / "tuning/lora/rate_0/log.txt").read_bytes() == first
    tuning = json.loads((folder / "tuning.json").read_text())
    tries = tuning["tries"]["lora"]
    assert len(tries) == 2
    for number, one in enumerate(tries):
        tried = newest_run(folder / f"tuning/lora/rate_{number}")
        assert tried is not None
        kept = record(tried)
        assert (kept["seed"], kept["metrics"]["val/acc"]) == (tuning["seed"], one["val_acc"])
        assert not [name for name in kept["metrics"] if name.startswith("test/")]
        assert not (tried / "predictions.parquet").exists()
        assert not (tried / "checkpoints").exists()
    best = max(tries, key=lambda one: (one["val_acc"], -one["val_loss"]))
    assert tuning["chosen"] == {"lora": best["learning_rate"]}
    compared = runs_of(tmp_path)["lora 1"]
    assert yaml.safe_load((compared / "config.yaml").read_text())["model"]["learning_rate"] == best["learning_rate"]
    assert "test/acc" in record(compared)["metrics"]


def test_a_try_that_failed_is_no_result_and_is_tried_again_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    words = ("--seeds", "1", "--trainer.max_epochs", "1", "--no_forecast", "--tune", "2")
    outcome = compare(tmp_path, broken_recipe(tmp_path, "bad", "Crash"), *SMALL, *words)
    assert outcome.code == 1, outcome.err
    assert "bad: no rate could be trained" in outcome.out

    def kept() -> dict[str, Any]:
        content: dict[str, Any] = json.loads((tmp_path / FOLDER / "tuning.json").read_text())
        return content

    assert [one["val_acc"] for one in kept()["tries"]["bad"]] == [None, None]
    monkeypatch.delenv(VARIABLE)
    outcome = compare(tmp_path, "--resume", str(FOLDER))
    assert outcome.code == 0, outcome.err
    first, second = kept()["tries"]["bad"]
    assert f"tried again, because they failed: bad rate {first['learning_rate']:g}, bad rate " in outcome.out
    assert None not in (first["val_acc"], second["val_acc"])
    compared = yaml.safe_load((runs_of(tmp_path)["bad 1"] / "config.yaml").read_text())
    assert compared["model"]["learning_rate"] == kept()["chosen"]["bad"]
