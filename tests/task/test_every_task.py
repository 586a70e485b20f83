"""Every task goes through the whole program: fit, test, predict, a trained model without a Trainer, a report."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peft_lightning.__main__ import main
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.predictions import read_answers
from peft_lightning.runs.record import RunRecord
from tests.compare.report.records import IA3, LORA, plan
from tests.integration.offline_run import checkpoint, only_run

Change = Callable[[int, dict[str, Any]], dict[str, Any]]

# What each task makes of the reviews of two classes, and the settings it needs.
TASKS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "multi_label_classification": (
        lambda n, row: {**row, "label": ["good"] * row["label"] + ["third"] * (n % 3 == 0)},
        ("--model.class_weights", "balanced", "--model.focal_gamma", "1"),
    ),
    "regression": (
        lambda n, row: {**row, "label": 30 + 20 * row["label"] + n % 4 + 0.5},
        ("--model.huber_delta", "30", "--checkpoint.monitor", "val/spearman"),
    ),
    "several numbers": (
        lambda n, row: {"text": row["text"], "x": row["label"] * 2 + n % 3 / 10, "y": n % 5 * 100},
        ("--data.label_column", "[x, y]"),
    ),
    "columns": (
        lambda n, row: {"text": row["text"], "good": row["label"], "even": int(n % 2 == 0)},
        ("--data.label_column", "[good, even]", "--early_stopping.patience", "1"),
    ),
    "pairs": (
        lambda n, row: {
            **row,
            "other": "a warm film" if n % 3 else "a dull film",
            "label": ("no", "yes")[row["label"]],
        },
        ("--data.text_pair_column", "other", "--model.class_weights", "{yes: 3}", "--checkpoint.monitor", "val/mcc"),
    ),
}
FAST = ("pairs",)


def rewritten(reviews: Path, change: Change) -> None:
    for path in reviews.iterdir():
        rows = [change(n, json.loads(line)) for n, line in enumerate(path.read_text().splitlines())]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in TASKS])
def test_a_run_of_each_task_trains_tests_and_predicts(
    name: str, tiny_fit: list[str], reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, settings = TASKS[name]
    rewritten(reviews, change)
    main([*tiny_fit, *settings])
    run = only_run(Path())
    record = RunRecord.read(run / "results.json")
    assert record.status == "finished"
    expected = {"columns": "multi_label_classification", "several numbers": "regression"}
    assert record.problem_type == expected.get(name, name if name != "pairs" else "single_label_classification")

    answers = read_answers(run / "predictions.parquet")
    task = answers.task
    for split in ("val", "test"):
        keys = {metric.key for metric in task.monitored}
        assert {key.partition("/")[2] for key in record.metrics if key.startswith(split)} == keys
    # The row shows the mean of the scores that are paired.
    headline = record.metrics[task.headline.test]
    assert headline is not None
    assert task.headline.oriented(float(answers.scores.mean())) == pytest.approx(headline, rel=1e-5)
    assert f"test {task.headline.name}" in capsys.readouterr().out
    kept = checkpoint(run / "checkpoints/best.ckpt")["peft_lightning"]
    assert kept["problem_type"] == record.problem_type

    config = ["--config", str(run / "config.yaml"), "--ckpt_path", "best"]
    main(["test", *config])
    measured = json.loads((run / "test_0/metrics.json").read_text())["metrics"]
    assert measured[task.headline.test] == pytest.approx(headline, rel=1e-5)
    assert ("test/log_loss" in measured) == (record.problem_type != "regression")
    assert "log_loss" not in capsys.readouterr().out
    main(["predict", *config, "--data.predict_file", str(reviews / "test.jsonl")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 32
    for row, answer in zip(answers.ids, answers.answers, strict=True):
        told = task.line(answer.tolist())
        assert {**lines[row], "probabilities": 0, "value": 0, "values": 0} == {
            **told,
            "probabilities": 0,
            "value": 0,
            "values": 0,
        }
        for kind in ("probabilities", "values"):
            assert lines[row].get(kind, {}) == pytest.approx(told.get(kind, {}), rel=1e-3, abs=1e-4)
        assert lines[row].get("value", 0) == pytest.approx(told.get("value", 0), rel=1e-3)

    rows = [json.loads(line) for line in (reviews / "test.jsonl").read_text().splitlines()[:3]]
    texts = [(row["text"], row["other"]) if name == "pairs" else row["text"] for row in rows]
    alone = TextClassifier.load_trained(run).answer(texts)
    assert [line.get("label", line.get("labels")) for line in alone] == [
        line.get("label", line.get("labels")) for line in lines[:3]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["multi_label_classification", "several numbers", "pairs"])
def test_runs_of_each_task_are_compared_by_their_scores(
    name: str, tiny_fit: list[str], reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, settings = TASKS[name]
    rewritten(reviews, change)
    folder = tmp_path / "mine"
    folder.mkdir()
    means = {}
    for planned in plan({"lora": LORA, "ia3": IA3}, (1,), folder).runs(folder):
        words = [word.replace("lora.yaml", f"{planned.label}.yaml") for word in tiny_fit]
        main([*words, *settings, "--trainer.default_root_dir", str(planned.folder)])
        answers = read_answers(only_run(planned.folder) / "predictions.parquet")
        means[planned.label] = answers.task.headline.oriented(float(np.mean(answers.scores)))
    capsys.readouterr()
    main(["report", str(folder)])
    printed = " ".join(capsys.readouterr().out.split())
    metric = answers.task.headline
    assert metric.words(max(means.values(), key=metric.oriented)) in printed
    rows = {row["recipe"]: row for row in csv.DictReader((folder / "results.csv").open())}
    assert {label: float(row[metric.test]) for label, row in rows.items()} == pytest.approx(means, rel=1e-5)
    page = (folder / "report.html").read_text()
    assert f'<h2 id="{metric.slug}">' in page
    if name == "pairs" and 'id="disagreements"' in page:
        assert "The texts are not shown" not in page


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--model.problem_type", "ordinal"), "problem_type"),
    (
        ("--model.huber_delta", "1"),
        "model.huber_delta is for numbers, which single_label_classification has none of",
    ),
    (("--model.class_weights", "[1, 2, 3]"), "class_weights has 3 weights and the data 2 classes (0, 1)"),
    (("--model.class_weights", "rare"), "class_weights"),
    (("--model.focal_gamma", "-1"), "model.focal_gamma is -1"),
    (("--model.problem_type", "regression", "--model.huber_delta", "0"), "model.huber_delta is 0"),
    (("--data.text_pair_column", "text"), "text_column and text_pair_column are both 'text'"),
    (("--data.label_column", "[label, label]"), "label_column twice has 'label'"),
    (("--data.label_column", "[]"), "label_column is an empty list"),
    (("--early_stopping.monitor", "val/mcc"), "--early_stopping.patience 2"),
    (("--early_stopping.patience", "0"), "early_stopping.patience"),
    (("--early_stopping.patience", "1", "--early_stopping.monitor", "val/mc"), "did you mean val/mcc"),
    (("--checkpoint.monitor", "val/recal.1"), "did you mean val/recall.1"),
]


@pytest.mark.parametrize(
    ("settings", "said"),
    [case if case in (WRONG[2], WRONG[-1]) else pytest.param(*case, marks=pytest.mark.slow) for case in WRONG],
)
def test_a_wrong_setting_is_one_line(
    settings: tuple[str, ...], said: str, tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, *settings])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not list(Path().rglob("results.json"))


@pytest.mark.slow
def test_early_stopping_knows_the_direction_and_ends_training(tiny_fit: list[str]) -> None:
    # A rate of almost 0 makes no validation better by a tenth.
    stopping = ("--early_stopping.patience", "1", "--early_stopping.monitor", "val/brier")
    words = [*tiny_fit, *stopping, "--early_stopping.min_delta", "0.1", "--model.learning_rate", "1e-9"]
    main([*words, "--trainer.max_epochs", "9"])
    run = only_run(Path())
    assert "training ended at step 8 of 36" in RunRecord.read(run / "results.json").notes
    state = checkpoint(run / "checkpoints/last.ckpt")["callbacks"]
    assert any("'monitor': 'val/brier', 'mode': 'min'" in key for key in state)
