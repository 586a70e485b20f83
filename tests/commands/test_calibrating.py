"""A calibration goes from ``fit`` through the checkpoint to every answer, and never sees the test split."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peft_lightning.__main__ import main
from peft_lightning.commands.fit import Fit
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.predictions import read_answers
from peft_lightning.runs.record import CalibrationFigures, RunRecord
from tests.conftest import tiny_fit_words, write_reviews
from tests.integration.offline_run import checkpoint, only_run
from tests.task.test_every_task import rewritten

# A rate at which the validation has right and wrong answers, so that there is a best temperature.
SETTINGS = ("--model.learning_rate", "3e-3", "--data.n_val", "32", "--data.max_length", "16")
BOTH = ("--calibration.temperature", "true", "--calibration.thresholds", "f1")


def fitted(run: Path) -> CalibrationFigures:
    found = RunRecord.read(run / "results.json").calibration
    assert found is not None
    return found


def calibrated(probabilities: Any, temperature: float) -> Any:
    """The probabilities of logits that are divided by the temperature, from those of the logits themselves."""
    powers = np.asarray(probabilities, dtype=np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def disturbed(reviews: Path) -> None:
    """Gives a third of the test reviews another label, and a fifth of the training reviews."""
    for name, every in (("test", 3), ("train", 5)):
        path = reviews / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows[::every]:
            row["label"] = 1 - row["label"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@dataclass(frozen=True)
class Whole:
    """A run that went through: its words without those of the calibration, its data, its directory, what it printed."""

    words: list[str]
    reviews: Path
    run: Path
    printed: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run of reviews with some wrong labels that fits a temperature and a threshold."""
    folder = tmp_path_factory.mktemp("whole")
    disturbed(write_reviews(folder / "reviews"))
    words = [*tiny_fit_words(folder / "reviews"), *SETTINGS]
    with pytest.MonkeyPatch.context() as scene, redirect_stdout(StringIO()) as out:
        scene.chdir(folder)
        scene.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        main([*words, *BOTH])
    return Whole(words, folder / "reviews", only_run(folder), out.getvalue())


def test_what_is_fitted_is_recorded_kept_with_the_weights_and_applied(whole: Whole) -> None:
    assert "calibrated on 32 validation rows: temperature" in whole.printed
    run, reviews = whole.run, whole.reviews
    record, found = RunRecord.read(run / "results.json"), fitted(run)
    assert found.temperature not in (None, 1.0)
    assert found.thresholds is not None
    assert (found.n_val, found.thresholds_by) == (32, "f1")
    assert "32 validation rows are few to calibrate on: other rows would give other values" in record.notes
    # What runs are compared by is that of the model alone, and so are the saved answers.
    assert found.before.items() <= record.metrics.items()
    for name in ("val/log_loss", "val/f1"):
        metric = {"val/log_loss": -1, "val/f1": 1}[name]
        assert metric * float(found.after[name] or 0) > metric * float(found.before[name] or 0)
    assert {name.partition("/")[0] for name in found.after} == {"val", "test"}
    kept = checkpoint(run / "checkpoints/best.ckpt")["peft_lightning"]["calibration"]
    assert kept == {"temperature": found.temperature, "thresholds": [found.thresholds["1"]], "metric": "f1"}
    assert "calibration" not in checkpoint(run / "checkpoints/last.ckpt")["peft_lightning"]
    # One validation of the epoch in the curves, not a second one.
    assert (run / "history.csv").read_text().count("val/loss") == 1

    saved = read_answers(run / "predictions.parquet")
    texts = [json.loads(line)["text"] for line in (reviews / "test.jsonl").read_text().splitlines()]
    lines = TextClassifier.load_trained(run).answer([texts[row] for row in saved.ids])
    expected = calibrated(saved.answers, found.temperature or 1.0)
    for line, shares in zip(lines, expected, strict=True):
        assert list(line["probabilities"].values()) == pytest.approx(shares.tolist(), abs=1e-4)
        assert line["label"] == str(int(line["probabilities"]["1"] > found.thresholds["1"]))
    assert (
        np.mean([line["label"] == str(label) for line, label in zip(lines, saved.labels, strict=True)])
        == (found.after["test/acc"])
    )


@pytest.mark.slow
def test_a_fresh_process_predicts_with_it_and_test_measures_with_it(
    whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    run, reviews, found = whole.run, whole.reviews, fitted(whole.run)
    words = ["--config", str(run / "config.yaml"), "--ckpt_path", "best"]
    asked = [*words, "--data.predict_file", str(reviews / "test.jsonl"), "--trainer.accelerator", "cpu"]
    command = [sys.executable, "-m", "peft_lightning", "predict", *asked]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"calibrated: logits are divided by the temperature {found.temperature:.3f}" in ended.stderr
    assert "calibrated: answered above these probabilities: 1 " in ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    saved = read_answers(run / "predictions.parquet")
    expected = calibrated(saved.answers, found.temperature or 1.0)
    for row, shares in zip(saved.ids, expected, strict=True):
        assert list(lines[row]["probabilities"].values()) == pytest.approx(shares.tolist(), abs=1e-3)
        assert found.thresholds is not None
        assert lines[row]["label"] == str(int(lines[row]["probabilities"]["1"] > found.thresholds["1"]))

    capsys.readouterr()
    main(["test", *words])
    assert "\ncalibrated: test/loss" in capsys.readouterr().out
    measured = json.loads((run / "test_0/metrics.json").read_text())
    assert measured["metrics"]["test/acc"] == RunRecord.read(run / "results.json").metrics["test/acc"]
    assert measured["calibrated"] == {name: value for name, value in found.after.items() if "test/" in name}


@pytest.mark.slow
def test_labels_of_the_test_split_change_nothing_that_is_fitted(
    whole: Whole, tiny_fit: list[str], reviews: Path
) -> None:
    disturbed(reviews)
    rows = [json.loads(line) for line in (reviews / "test.jsonl").read_text().splitlines()]
    (reviews / "test.jsonl").write_text("".join(json.dumps({**row, "label": 1 - row["label"]}) + "\n" for row in rows))
    main([*tiny_fit, *SETTINGS, *BOTH])
    one, other = fitted(whole.run), fitted(only_run(Path()))
    assert one.after["test/acc"] != other.after["test/acc"]
    assert (one.temperature, one.thresholds) == (other.temperature, other.thresholds)
    assert {name: value for name, value in one.after.items() if "val/" in name} == {
        name: value for name, value in other.after.items() if "val/" in name
    }


@pytest.mark.slow
def test_a_run_that_breaks_off_once_it_has_fitted_ends_with_the_record_of_one_that_did_not(
    whole: Whole, tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*whole.words, *BOTH]

    def breaks(*_: object) -> None:
        raise RuntimeError("the power fails")

    with monkeypatch.context() as scene:
        scene.setattr(Fit, "_test", breaks)
        with pytest.raises(RuntimeError):
            main(words)
    broken = only_run(Path())
    assert RunRecord.read(broken / "results.json").status != "finished"
    assert "calibration" in checkpoint(broken / "checkpoints/best.ckpt")["peft_lightning"]
    main([*words, "--ckpt_path", "last"])
    assert fitted(broken) == fitted(whole.run)
    one, other = (RunRecord.read(run / "results.json") for run in (whole.run, broken))
    assert (one.metrics, one.notes, other.status) == (other.metrics, other.notes, "finished")
    ours, theirs = (read_answers(run / "predictions.parquet").answers for run in (whole.run, broken))
    assert np.array_equal(ours, theirs)


@pytest.mark.slow
def test_training_answers_and_metrics_keep_their_bits_where_it_is_asked(whole: Whole, tiny_fit: list[str]) -> None:
    main(whole.words)
    plain, asked = only_run(Path()), whole.run
    one, other = (RunRecord.read(run / "results.json") for run in (plain, asked))
    assert one.calibration is None
    assert one.metrics == other.metrics
    ours, theirs = (read_answers(run / "predictions.parquet").answers for run in (plain, asked))
    assert np.array_equal(ours, theirs)
    curves = [
        [line for line in (run / "history.csv").read_text().splitlines() if re.search(",(train|val|test)/", line)]
        for run in (plain, asked)
    ]
    assert curves[0] == curves[1]
    states = [checkpoint(run / "checkpoints/last.ckpt")["state_dict"] for run in (plain, asked)]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((*BOTH, "--model.problem_type", "regression"), "--calibration.temperature is for probabilities, which regression"),
    ((*BOTH, "--trainer.limit_val_batches", "0"), "trainer.limit_val_batches 0 leaves out"),
    (("--calibration.thresholds", "auroc"), "calibration.thresholds"),
    (("--calibration.temperatur", "true"), "calibration.temperatur"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "said"), WRONG)
def test_what_cannot_be_fitted_ends_in_one_line_before_training(
    settings: tuple[str, ...], said: str, tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, *settings])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not list(Path().rglob("results.json"))


def several(n: int, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "label": ["good"] * row["label"] + ["third"] * (n % 3 == 0)}


@pytest.mark.slow
def test_labels_have_a_threshold_each(tiny_fit: list[str], reviews: Path) -> None:
    rewritten(reviews, several)
    main([*tiny_fit, *SETTINGS, *BOTH])
    run = only_run(Path())
    found = fitted(run)
    assert found.thresholds is not None
    assert list(found.thresholds) == ["good", "third"]
    assert float(found.after["val/f1"] or 0) >= float(found.before["val/f1"] or 0)
    texts = [json.loads(line)["text"] for line in (reviews / "test.jsonl").read_text().splitlines()]
    for line in TextClassifier.load_trained(run).answer(texts):
        assert line["labels"] == [name for name, p in line["probabilities"].items() if p > found.thresholds[name]]
