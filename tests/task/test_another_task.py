"""A task that the package does not know goes through all of it: nothing outside the task's file asks which one runs."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peft_lightning.__main__ import main
from peft_lightning.data.sources import read_corpus
from peft_lightning.errors import UserError
from peft_lightning.runs.predictions import Answers, read_answers, write_answers
from peft_lightning.runs.record import RunRecord
from peft_lightning.runs.row import as_text
from peft_lightning.task import TASKS, Regression
from tests.compare.report.records import IA3, LORA, comparison, plan, write_run
from tests.integration.offline_run import checkpoint, only_run
from tests.task.toy import ToyRegression

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that a task takes outside its file."""
    monkeypatch.setitem(TASKS, Regression.problem_type, Regression)  # back where a test takes it out
    monkeypatch.setitem(TASKS, ToyRegression.problem_type, ToyRegression)


@pytest.fixture
def rated_fit(reviews: Path, tiny_fit: list[str]) -> list[str]:
    """The words of a `fit` on the same reviews with ratings of 1.3 to 4.6 in the place of classes."""
    for path in reviews.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rated = [{**row, "label": 1.3 + 3 * row["label"] + n % 4 / 10} for n, row in enumerate(rows)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rated))
    return tiny_fit


def errors(run: Path) -> np.ndarray:
    """The absolute errors of a run's answers."""
    answers = read_answers(run / "predictions.parquet")
    distances: np.ndarray = np.abs(answers.answers.astype(np.float64) - answers.labels)
    return distances


@pytest.mark.slow
def test_a_run_of_another_task_trains_tests_and_predicts(
    rated_fit: list[str], reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*rated_fit, "--trainer.max_epochs", "3", "--model.learning_rate", "1e-2"])
    printed = capsys.readouterr().out
    run = only_run(Path())
    record = RunRecord.read(run / "results.json")
    assert (record.status, record.problem_type) == ("finished", "toy_regression")
    assert set(record.metrics) == {f"{split}/{key}" for split in ("val", "test") for key in ("loss", "mae", "mse")}
    assert "decimal numbers, 32 texts to train on" in printed
    assert "test mean absolute error" in as_text(record)
    assert f"{record.metrics['test/mae']:.3f}" in as_text(record)

    answers = read_answers(run / "predictions.parquet")
    assert isinstance(answers.task, ToyRegression)
    assert len(answers.ids) == 16
    assert not answers.right_or_wrong
    assert -answers.scores.mean() == pytest.approx(record.metrics["test/mae"], rel=1e-5)
    assert answers.labels.min() >= 1.3 - 1e-6

    # Lower is better: the best checkpoint is that of the lowest error, and so is what the record says of validation.
    rows = list(csv.DictReader((run / "history.csv").open()))
    measured = {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "val/mae"}
    assert len(measured) == 3
    best = min(measured, key=lambda step: measured[step])
    assert checkpoint(run / "checkpoints/best.ckpt")["global_step"] == best
    assert record.metrics["val/mae"] == measured[best]

    config = ["--config", str(run / "config.yaml"), "--ckpt_path", "best"]
    main(["test", *config])
    assert json.loads((run / "test_0/metrics.json").read_text())["metrics"]["test/mae"] == pytest.approx(
        record.metrics["test/mae"], rel=1e-5
    )
    capsys.readouterr()
    main(["predict", *config, "--data.predict_file", str(reviews / "test.jsonl")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 32
    for row, answer in zip(answers.ids, answers.answers, strict=True):
        assert lines[row]["value"] == pytest.approx(float(answer), abs=1e-3)


@pytest.mark.slow
def test_a_stopped_run_of_another_task_goes_on_from_the_settings_that_it_left(rated_fit: list[str]) -> None:
    main([*rated_fit, "--trainer.max_epochs", "1"])
    run = only_run(Path())
    results = run / "results.json"
    results.write_text(results.read_text().replace('"status": "finished"', '"status": "interrupted"'))
    main([*rated_fit, "--trainer.max_epochs", "1", "--ckpt_path", "last"])
    assert only_run(Path()) == run
    assert RunRecord.read(results).status == "finished"


@pytest.mark.slow
def test_runs_of_another_task_are_compared_by_its_scores(
    rated_fit: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    means = {}
    for planned in plan({"lora": LORA, "ia3": IA3}, (1,), folder).runs(folder):
        words = [word.replace("lora.yaml", f"{planned.label}.yaml") for word in rated_fit]
        # One learns and the other does not, so that which is better is no matter of chance.
        rate = {"lora": "1e-2", "ia3": "1e-9"}[planned.label]
        main([*words, "--trainer.default_root_dir", str(planned.folder), "--model.learning_rate", rate])
        means[planned.label] = float(errors(only_run(planned.folder)).mean())
    capsys.readouterr()
    main(["report", str(folder)])
    printed = " ".join(capsys.readouterr().out.split())
    better, worse = sorted(means, key=lambda label: means[label])
    assert f"Best mean absolute error: {better}, {means[better]:.3f}" in printed
    assert f"{means[worse] - means[better]:.3g} better" in printed

    rows = {row["recipe"]: row for row in csv.DictReader((folder / "results.csv").open())}
    assert {label: float(row["test/mae"]) for label, row in rows.items()} == pytest.approx(means, rel=1e-5)
    assert "test/acc" not in rows["lora"]
    table = (folder / "table.md").read_text()
    assert "test mean absolute error | 95 % interval" in table
    assert "MSE" in table
    page = (folder / "report.html").read_text()
    assert '<h2 id="mean-absolute-error">Mean absolute error</h2>' in page
    assert "best is the lowest validation mean absolute error" in page
    for absent in ('id="confusion"', 'id="labels"', 'id="numbers"', "ccura", " %, not from 0"):
        assert absent not in page, absent
    assert "the best and the worst recipe are" in page[page.index('id="disagreements"') :]
    assert 'aria-label="Test mean absolute error by tokens of the text. ' in page


def test_a_run_of_another_task_that_joins_a_comparison_is_shown_and_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = comparison(tmp_path / "mine", {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    other = write_run(tmp_path / "version_0", replace(LORA, method="rated"), 1, "rated", 60, fingerprint="f" * 64)
    record = RunRecord.read(other / "results.json")
    record.problem_type, record.metrics = "toy_regression", {"test/mae": 0.5, "val/mae": 0.4}
    record.write(other / "results.json")
    labels = np.linspace(1, 5, 60, dtype=np.float32)
    write_answers(other / "predictions.parquet", Answers(np.arange(60), labels, labels + 0.5, ToyRegression()))
    main(["report", str(folder), str(other), "--no_texts"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "rated was trained for toy_regression and the comparison is of single_label_classification" in printed
    (row,) = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("| rated")]
    assert "50.0 %" not in row
    assert "–" in row
    rows = {(row["recipe"], row["seed"]): row for row in csv.DictReader((folder / "results.csv").open())}
    assert (rows["rated", "1"]["test/mae"], rows["rated", "1"]["test/acc"]) == ("0.5", "")
    assert rows["lora", "1"]["test/mae"] == ""


@pytest.mark.parametrize(("flag", "value"), [("class_names", "[a, b]"), ("label_smoothing", "0.1")])
def test_settings_of_classes_are_refused_where_there_are_none(
    flag: str, value: str, rated_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*rated_fit, f"--model.{flag}", value])
    assert ended.value.code == 2
    assert f"model.{flag}" in capsys.readouterr().err
    assert not list(Path().rglob("results.json"))


def test_a_metric_that_another_task_does_not_measure_is_refused_with_those_that_it_does(
    rated_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*rated_fit, "--checkpoint.monitor", "val/acc"])
    assert "val/acc" in (error := capsys.readouterr().err)
    assert "use val/mae or val/mse" in error


def test_without_the_task_decimal_labels_are_for_the_package_s_own_and_no_classes(
    rated_fit: list[str], reviews: Path
) -> None:
    assert "fit" in rated_fit
    TASKS.pop(ToyRegression.problem_type)
    assert isinstance(read_corpus(str(reviews), "text", "label", 42).task, Regression)
    TASKS.pop(Regression.problem_type)
    with pytest.raises(UserError, match=r"1\.3, which is no class"):
        read_corpus(str(reviews), "text", "label", 42)
