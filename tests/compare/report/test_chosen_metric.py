"""A report by a metric that the user chose: its table, verdict, picture and CSV, and what it refuses."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.chosen_metric import ends_of
from peft_lightning.compare.report.figures import summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.statistics import Correlation, Interval, verdict
from peft_lightning.errors import UserError
from peft_lightning.runs.predictions import Answers, read_answers, write_answers
from peft_lightning.task import Regression, Task
from tests.compare.report.records import IA3, LORA, comparison

RECIPES = {"lora": LORA, "ia3": IA3}


def with_figures(folder: Path, keys: Sequence[str]) -> Path:
    """Adds to each record what a run records of its own answers."""
    for path in folder.rglob("results.json"):
        record = json.loads(path.read_text())
        answers = read_answers(path.parent / "predictions.parquet")
        for key in keys:
            figure = answers.task.pseudo_values(key, answers.answers, answers.labels).mean()
            record["metrics"][f"test/{key}"] = None if np.isnan(figure) else float(figure)
        path.write_text(json.dumps(record))
    return folder


def numbers(folder: Path) -> Path:
    """Makes the runs ones of numbers: ia3 errs more."""
    for path in folder.rglob("results.json"):
        record = json.loads(path.read_text())
        record["problem_type"] = Regression.problem_type
        rng = np.random.default_rng([record["seed"], *record["recipe"].encode()])
        labels = np.random.default_rng(0).standard_normal(200).astype(np.float32)
        found = labels + (0.5 if record["recipe"] == "lora" else 0.9) * rng.standard_normal(200).astype(np.float32)
        write_answers(path.parent / "predictions.parquet", Answers(np.arange(200), labels, found, Regression()))
        record["metrics"] = {}
        path.write_text(json.dumps(record))
    return with_figures(folder, ("mae", "rmse", "pearson", "r2", "spearman"))


@pytest.mark.parametrize("key", [pytest.param("mcc", marks=pytest.mark.slow), "f1.positive"])
def test_table_verdict_csv_and_page_are_of_the_chosen_metric(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_figures(comparison(tmp_path, RECIPES, (1, 2), 200), (key,))
    assert write_report(tmp_path, texts=False, metric=key) == ()
    study = read_study(tmp_path, metric=key)
    name = {"mcc": "MCC", "f1.positive": "F1 of positive"}[key]
    assert study.metric.name == name
    rows = {row.label: row for row in summarise(study, find(study))}
    recorded = [
        json.loads(path.read_text())["metrics"][f"test/{key}"]
        for path in sorted(tmp_path.glob("runs/lora/**/results.json"))
    ]
    headline, interval = rows["lora"].headline, rows["lora"].interval
    assert headline == pytest.approx(np.mean(recorded))
    assert headline is not None
    assert interval is not None
    assert interval.low < headline < interval.high
    assert rows["lora"].metrics.keys() == {"acc", "f1", "auroc"}
    table = (tmp_path / "table.md").read_text()
    assert f"| test {name} | 95 % interval |" in table
    assert f"{headline:.3f}" in table
    lines = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [float(line[f"test/{key}"]) for line in lines if line["recipe"] == "lora"] == pytest.approx(recorded)
    assert {"test/acc", "test/f1", f"val/{key}"} <= lines[0].keys()
    page = (tmp_path / "report.html").read_text()
    assert f"in test {name} over 200 reviews" in page
    assert f"Each review counts with the {name} and its influence on it" in page
    assert f"Test {name} with 95 % intervals" in page
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Best {name}: lora, " in printed
    assert f"Compared by {name}, of which higher is better. lora is 0.0" in printed
    assert f"Compared by {name}, of which higher is better." in page


@pytest.mark.slow
def test_a_label_s_name_breaks_no_table_and_no_picture(tmp_path: Path) -> None:
    made = {label: replace(of, class_names=('<b>"|$x\\1', "positive")) for label, of in RECIPES.items()}
    comparison(tmp_path, made, (1, 2), 60)
    assert write_report(tmp_path, texts=False, metric="f1.b_x_1") == ()
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in table}) == 1
    page = (tmp_path / "report.html").read_text()
    assert 'id="F1-of-b-x-1"' in page
    assert "F1 of <b>" not in page
    assert "&lt;b&gt;" in page


def test_the_headline_asked_for_by_name_is_the_report_without(tmp_path: Path) -> None:
    comparison(tmp_path, RECIPES, (1,), 60)
    assert find(read_study(tmp_path, metric="acc")).statistics == find(read_study(tmp_path)).statistics


def test_the_plan_s_metric_is_compared_and_another_report_takes_another(tmp_path: Path) -> None:
    comparison(tmp_path, RECIPES, (1, 2), 60)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "metric": "balanced_acc"}))
    assert read_plan(tmp_path).metric == "balanced_acc"
    assert read_study(tmp_path).metric.key == "balanced_acc"
    assert read_study(tmp_path, metric="auroc").metric.key == "auroc"
    assert read_study(tmp_path, metric="acc").metric.key == "acc"


@pytest.mark.parametrize(("key", "better"), [("rmse", "lower"), ("pearson", "higher"), ("r2", "higher")])
def test_metrics_of_numbers_are_compared_in_their_direction(key: str, better: str, tmp_path: Path) -> None:
    study = read_study(numbers(comparison(tmp_path, RECIPES, (1, 2, 3), 200)), metric=key)
    findings = find(study)
    assert findings.statistics is not None
    (pair,) = findings.statistics.differences
    assert pair.told_apart
    assert (pair.first, pair.second, pair.difference > 0) == ("lora", "ia3", True)
    lora, ia3 = summarise(study, findings)
    assert (lora.headline < ia3.headline) == (better == "lower")  # type: ignore[operator]
    for row in (lora, ia3):
        assert row.interval is not None
        assert row.interval.low < row.headline < row.interval.high  # type: ignore[operator]
    assert verdict(findings.statistics, study.metric)[-1].startswith("lora is ")


def test_a_metric_of_another_task_is_refused_by_a_report_and_said_by_a_comparison(tmp_path: Path) -> None:
    comparison(tmp_path, RECIPES, (1,), 60)
    for key in ("pearson", "f1.neutral", "ece"):
        with pytest.raises(UserError, match=f"--metric {key} ") as refused:
            read_study(tmp_path, metric=key)
        assert "\n" not in str(refused.value)
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "metric": "pearson"}))
    study = read_study(tmp_path)
    assert study.metric.key == "acc"
    (note,) = study.notes
    assert note.startswith("--metric pearson is no metric that recipes can be compared by: single_label")
    assert note.endswith("So accuracy is compared.")


@pytest.mark.parametrize(("key", "ends"), [("pearson", Correlation()), ("spearman", Correlation(ranks=True))])
def test_correlations_have_the_intervals_of_correlations(key: str, ends: Interval, tmp_path: Path) -> None:
    numbers(comparison(tmp_path, RECIPES, (1,), 60))
    with_figures(tmp_path, ("pearson", "spearman"))
    assert ends_of(read_study(tmp_path, metric=key)) == ends


def test_an_undefined_metric_is_a_dash_and_is_said(tmp_path: Path) -> None:
    numbers(comparison(tmp_path, {**RECIPES, "full": replace(LORA, method="full")}, (1, 2), 200))
    path = next(tmp_path.glob("runs/full/seed_2/**/predictions.parquet"))
    answers = read_answers(path)
    write_answers(path, replace(answers, answers=np.zeros_like(answers.answers)))
    with_figures(tmp_path, ("pearson",))
    study = read_study(tmp_path, metric="pearson")
    findings = find(study)
    assert findings.statistics is not None
    assert {method.method for method in findings.statistics.methods} == {"lora", "ia3"}
    (sentence,) = findings.left_out
    assert sentence == "Pearson is undefined for 1 of the 2 runs of full: it takes no part in the tests."
    row = next(row for row in summarise(study, findings) if row.label == "full")
    assert (row.headline, row.interval) == (None, None)


def test_a_metric_that_the_reviews_leave_undefined_tests_nothing(tmp_path: Path) -> None:
    comparison(tmp_path, RECIPES, (1,), 60)
    for path in tmp_path.rglob("predictions.parquet"):
        answers = read_answers(path)
        write_answers(path, replace(answers, labels=np.zeros_like(answers.labels)))
    findings = find(read_study(tmp_path, metric="mcc"))
    assert findings.statistics is None
    assert findings.left_out == (
        "MCC is undefined on these reviews, which are all of one class: there is nothing to test.",
    )


def test_every_task_names_what_recipes_are_compared_by(tmp_path: Path) -> None:
    comparison(tmp_path, RECIPES, (1,), 60)
    task: type[Task] = read_study(tmp_path).task
    for metric in task.compared():
        assert find(read_study(tmp_path, metric=metric.key)).statistics is not None, metric.key
