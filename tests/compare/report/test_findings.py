from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.report.figures import summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.pairwise_tests import describe_tests
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.report.summary_table import legend
from peft_lightning.compare.statistics import verdict
from tests.compare.report.records import FOUR, LORA, comparison, plan, write_run


def with_one_odd_run(folder: Path, odd: str, seed: int) -> Study:
    """Four recipes and three seeds; one run was tested on other reviews, and is hardly ever right."""
    for run in plan(FOUR, (1, 2, 3), folder).runs(folder):
        made, first_id = FOUR[run.label], 0
        if (run.label, run.seed) == (odd, seed):
            made, first_id = replace(made, accuracy=0.1), 1
        directory = run.folder / "lightning_logs" / made.method / "version_0"
        write_run(directory, made, run.seed, run.label, 200, first_id=first_id)
    return read_study(folder)


def test_accuracy_f1_and_auroc_are_of_the_runs_that_the_interval_is_of(tmp_path: Path) -> None:
    study = with_one_odd_run(tmp_path, "lora", 2)
    findings = find(study)
    row = summarise(study, findings)[1]
    kept = [record for run, record in study.recipes[1].finished if run.seed != 2]
    for figure, metric in (
        (row.headline, "test/acc"),
        (row.metrics["f1"], "test/f1"),
        (row.metrics["auroc"], "test/auroc"),
    ):
        recorded: list[Any] = [record.metrics[metric] for record in kept]
        assert figure == pytest.approx(sum(recorded) / 2)
    assert row.interval is not None
    assert row.headline is not None
    assert row.interval.low < row.headline < row.interval.high
    assert findings.left_out == (
        "1 of the 3 runs of lora was tested on other reviews than most runs, and left out of its accuracy, F1, AUROC"
        " and tests.",
    )


def test_an_odd_first_run_does_not_drop_all_others(tmp_path: Path) -> None:
    findings = find(with_one_odd_run(tmp_path, "full", 1))
    assert findings.statistics is not None
    assert {method.method: method.seeds for method in findings.statistics.methods} == {
        "full": 2, "lora": 3, "qlora": 3, "ia3": 3
    }  # fmt: skip
    (sentence,) = findings.left_out
    assert sentence.startswith("1 of the 3 runs of full")


def test_a_run_without_answers_is_left_out_of_all_that_is_made_of_answers(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": replace(LORA, spread=0.05)}, (1, 2, 3), 200)
    record = next(tmp_path.glob("runs/lora/seed_2/lightning_logs/*/*/results.json"))
    record.write_text(record.read_text().replace('"predictions": "predictions.parquet"', '"predictions": null'))
    study = read_study(tmp_path)
    findings = find(study)
    (row,) = summarise(study, findings)
    accuracies: list[Any] = [record.metrics["test/acc"] for run, record in study.recipes[0].finished if run.seed != 2]
    assert row.headline == pytest.approx(sum(accuracies) / 2)
    assert findings.left_out == (
        "1 of the 3 runs of lora left no answers that can be read: its accuracy, F1 and AUROC are of the other 2.",
    )


def test_the_legend_says_whose_interval_is_not_for_new_seeds(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=200)
    dora = replace(LORA, method="dora")
    alone = write_run(tmp_path / "version_0", dora, 1, "dora", 200, first_id=1)
    study = read_study(tmp_path / "mine", [alone])
    told = legend(summarise(study, find(study)), study.task.headline)[1]
    assert told == (
        "The interval of the accuracy is for new reviews and new seeds; that of dora, with one seed measured alone, for"
        " new reviews and that trained model."
    )
    paired = write_run(tmp_path / "version_1", dora, 1, "dora", 200)
    study = read_study(tmp_path / "mine", [paired])
    assert legend(summarise(study, find(study)), study.task.headline)[1].endswith("is for new reviews and new seeds.")


def test_the_pairs_table_and_the_verdict_say_the_same_difference(tmp_path: Path) -> None:
    made = replace(LORA, spread=0.0)
    comparison(tmp_path, {"a": made, "b": replace(made, method="b", accuracy=0.9125)}, (1,), 2000)
    study = read_study(tmp_path)
    findings = find(study)
    assert findings.statistics is not None
    (row,) = describe_tests(findings, study.task.headline)["pairs"]
    assert row["difference"] == "+0.05"
    assert "b measured 0.05 points better" in verdict(findings.statistics, study.task.headline)[-1]
