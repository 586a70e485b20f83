"""Two processes leave what one leaves that takes the same steps: a mean over all examples is a mean over all."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.commands.test_fit import without_dropout
from tests.conftest import tiny_fit_words, write_reviews
from tests.integration.offline_run import Outcome, checkpoint, fit, history, only_run, record, run, same

CAPTURED = Path(__file__).with_name("captured_run.py")
# Sums of 32-bit floats in another order, over some ten steps of AdamW.
TOLERANCE = 1e-5


def succeed(cwd: Path, *words: str) -> Outcome:
    done = run(list(words), cwd, timeout_s=240)
    assert done.code == 0, done.err
    return done


def fit_words(reviews: Path, backbone: str, root: Path, processes: int) -> list[str]:
    # 33 rows in batches of 16: the last has one example, and so one process none. 17 and 15 are uneven shares.
    return [
        *tiny_fit_words(reviews),
        *("--data.n_train", "33", "--data.n_val", "17", "--data.n_test", "15", "--trainer.max_epochs", "2"),
        *("--model.model_name_or_path", backbone, "--model.method.lora_dropout", "0", "--model.learning_rate", "1e-3"),
        *("--trainer.devices", str(processes), "--data.batch_size", str(16 // processes)),
        *("--trainer.default_root_dir", str(root), "--trainer.log_every_n_steps", "3"),
    ]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded backbone without dropout: two processes would draw other masks than one."""
    return without_dropout(tmp_path_factory.mktemp("backbones") / "still")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, backbone: str) -> dict[int, Path]:
    """The runs of one and of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    reviews = write_reviews(folder / "reviews")
    found = {}
    for processes in (1, 2):
        root = folder / str(processes)
        done = succeed(folder, *fit_words(reviews, backbone, root, processes))
        assert "sync_dist" not in done.err
        assert done.out.count("run directory:") == 1
        found[processes] = only_run(root)
    return found


def curve(trained: Path) -> dict[tuple[str, str], float]:
    with (trained / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({(row["step"], row["name"]) for row in rows}) == len(rows), "a figure is logged twice"
    return {
        (row["name"], row["step"]): float(row["value"]) for row in rows if row["name"].split("/")[0] in ("train", "val")
    }


def test_metrics_losses_and_counts_are_those_of_one_process(runs: dict[int, Path]) -> None:
    one, two = record(runs[1]), record(runs[2])
    assert two["metrics"] == pytest.approx(one["metrics"], abs=TOLERANCE)
    assert curve(runs[2]) == pytest.approx(curve(runs[1]), abs=TOLERANCE)
    for section in ("dataset", "params", "backbone", "status", "notes", "predictions", "history"):
        assert two[section] == one[section], section
    assert two["time"]["steps"] == one["time"]["steps"] == 6
    for content in (one, two):
        assert content["time"]["samples_per_s"] * content["time"]["train_s"] == pytest.approx(66)
    sizes = [
        [content["engine"][name] for name in ("processes", "batch_size", "global_batch_size")] for content in (one, two)
    ]
    assert sizes == [[1, 16, 16], [2, 8, 16]]
    assert two["environment"]["device"].startswith("2 × ")
    assert (one["memory"]["by_process"], one["time"]["train_s_by_process"]) == (None, None)
    assert one["engine"]["by_process"] is None
    assert [steps["micro_batch_size"] for steps in two["engine"]["by_process"]] == [8, 8]
    peaks = [peaks["train_peak_rss_gib"] for peaks in two["memory"]["by_process"]]
    assert len(peaks) == len(two["time"]["train_s_by_process"]) == 2
    assert max(peaks) == two["memory"]["train_peak_rss_gib"]


def test_every_test_row_is_answered_once_as_by_one_process(runs: dict[int, Path]) -> None:
    one, two = (pq.read_table(path / "predictions.parquet").to_pydict() for path in runs.values())
    assert len(two["index"]) == 15
    for name in ("index", "label"):
        assert two[name] == one[name]
    assert two["probability_1"] == pytest.approx(one["probability_1"], abs=TOLERANCE)


def test_the_same_weights_are_kept(runs: dict[int, Path]) -> None:
    states: list[dict[str, Any]] = [checkpoint(path / "checkpoints/last.ckpt")["state_dict"] for path in runs.values()]
    assert states[0].keys() == states[1].keys()
    for name, weight in states[0].items():
        assert torch.allclose(weight, states[1][name], atol=TOLERANCE), name


@pytest.mark.slow
def test_a_test_of_two_processes_writes_one_folder_with_every_row(runs: dict[int, Path]) -> None:
    trained = runs[2]
    done = succeed(trained.parent, "test", "--config", str(trained / "config.yaml"), "--ckpt_path", "best")
    assert done.out.count("written to") == 1
    (folder,) = trained.glob("test_*")
    assert pq.read_table(folder / "predictions.parquet").num_rows == 15
    metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
    expected = {name: value for name, value in record(trained)["metrics"].items() if name.startswith("test/")}
    assert metrics == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.slow
def test_predict_answers_each_line_once_and_in_order(runs: dict[int, Path], tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a warm film\nthe cast is a bore\nevery scene earns its place, said viewer 3\n")
    words = ("predict", "--ckpt_path", "best", "--data.predict_file", str(texts), "--config")
    two = succeed(tmp_path, *words, str(runs[2] / "config.yaml")).out.splitlines()
    assert yaml.safe_load((runs[2] / "config.yaml").read_text())["trainer"]["devices"] in (2, "2")
    one = succeed(tmp_path, *words, str(runs[1] / "config.yaml")).out.splitlines()
    answers = [[json.loads(line)["probabilities"]["1"] for line in lines] for lines in (two, one)]
    assert len(answers[0]) == 3
    assert answers[0] == pytest.approx(answers[1], abs=TOLERANCE)


@pytest.mark.slow
def test_captured_steps_of_two_processes_are_the_steps_of_one(
    runs: dict[int, Path], backbone: str, tmp_path: Path
) -> None:
    words = fit_words(write_reviews(tmp_path / "reviews"), backbone, tmp_path, 2)
    done = run(words, tmp_path, start=(sys.executable, str(CAPTURED)), timeout_s=240)
    assert done.code == 0, done.err
    captured = only_run(tmp_path)
    assert (record(captured)["engine"]["name"], record(captured)["notes"]) == ("graph", [])
    assert record(captured)["metrics"] == pytest.approx(record(runs[1])["metrics"], abs=TOLERANCE)
    assert curve(captured) == pytest.approx(curve(runs[1]), abs=TOLERANCE)


@pytest.mark.slow
def test_an_error_of_all_processes_is_one_line(backbone: str, tmp_path: Path) -> None:
    words = fit_words(write_reviews(tmp_path / "reviews"), backbone, tmp_path, 2)
    done = run([*words, "--model.learning_rate", "1e30", "--trainer.log_every_n_steps", "1"], tmp_path, timeout_s=240)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert "became infinite or NaN" in errors[0]
    assert "Traceback" not in done.err
    assert record(only_run(tmp_path))["status"] == "failed"


@pytest.mark.slow
def test_an_error_of_all_processes_is_one_line_in_a_trial_too(backbone: str, tmp_path: Path) -> None:
    words = fit_words(write_reviews(tmp_path / "reviews"), backbone, tmp_path, 2)
    trial = ("--trainer.fast_dev_run", "3", "--model.learning_rate", "1e30")
    done = run([*words, *trial], tmp_path, timeout_s=240)
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if "error:" in line]) == 1


@pytest.mark.slow
def test_each_run_of_a_comparison_has_the_devices_that_it_was_given(tmp_path: Path) -> None:
    recipes = ("configs/tuned_on_embedded/lora.yaml", "configs/tuned_on_embedded/ia3.yaml")
    tiny = ("--data.n_train", "16", "--data.n_val", "8", "--data.n_test", "8", "--data.max_length", "32")
    offline = ("--overlay", "configs/offline.yaml", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1")
    succeed(tmp_path, "compare", *recipes, *offline, *tiny, "--seeds", "1", "--name", "mine", "--devices_per_run", "2")
    found = [json.loads(path.read_text()) for path in tmp_path.glob("lightning_logs/compare/mine/**/results.json")]
    finished = [content for content in found if content["status"] == "finished"]
    assert {content["method"] for content in finished} == {"lora", "ia3"}
    assert {content["engine"]["processes"] for content in finished} == {2}
    assert {content["environment"]["device"][:4] for content in finished} == {"2 × "}


@pytest.mark.slow
def test_sigterm_to_all_processes_at_once_ends_them_in_order(tmp_path: Path) -> None:
    words = [*fit_words(write_reviews(tmp_path / "reviews"), "embedded", tmp_path, 2), "--trainer.max_epochs", "500"]
    started = subprocess.Popen(
        [sys.executable, "-m", "peft_lightning", *words], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("lightning_logs/*/*/history.csv")):
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGTERM)
        _, said = started.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 143
    assert "Traceback" not in said
    assert record(only_run(tmp_path))["status"] == "interrupted"


@pytest.mark.slow
def test_variables_that_another_launcher_has_left_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = fit_words(write_reviews(tmp_path / "reviews"), "embedded", tmp_path, 2)
    for name, value in {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    done = run(words, tmp_path, timeout_s=120)
    assert done.code == 2
    assert "WORLD_SIZE 1" in done.err
    assert "unset both, or say --trainer.devices 1" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("short_rank", [None, 1], ids=["with room", "one without room"])
def test_two_processes_that_are_killed_resume_to_the_same_weights(
    short_rank: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With dropout: each process goes on with the generator that it had.
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    two = ("--trainer.devices", "2", "--data.batch_size", "4", "--model.learning_rate", "1e-3")
    with monkeypatch.context() as scarce:
        if short_rank is not None:
            scarce.setenv("SHORT_RANK", str(short_rank))
        assert fit("lora", alone, *two, die_at="nowhere").code == 0
        assert fit("lora", killed, *two, die_at="in_step:3").code == -9
    # With room for both: only the checkpoint tells that one of them cut its batches.
    resumed = fit("lora", killed, *two, resume=True)
    assert resumed.code == 0, resumed.err
    states = [checkpoint(only_run(root) / "checkpoints/last.ckpt") for root in (alone, killed)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(*(state[part] for state in states)), part
    assert history(only_run(alone)) == history(only_run(killed))
    cut = [note.split(" at step")[0] for note in record(only_run(killed))["notes"] if "memory" in note]
    assert cut == ([] if short_rank is None else ["rank 1: not enough memory"])
    assert record(only_run(alone))["notes"] == record(only_run(killed))["notes"]
    for root in (alone, killed):
        each = record(only_run(root))["engine"]["by_process"]
        assert [steps["micro_batch_size"] for steps in each] == [4, 4 if short_rank is None else 2]
