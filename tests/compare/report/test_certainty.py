"""The report shows how sure answers are and how right, and what abstaining would bring."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peft_lightning.compare.report.any_report import write_report
from peft_lightning.compare.report.certainty import coverage, reliability
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.certainties import describe_certainty
from peft_lightning.runs.predictions import Answers, write_answers
from peft_lightning.runs.record import CalibrationFigures, RunRecord
from peft_lightning.task import MultiLabel, Regression, SingleLabel
from peft_lightning.task.class_figures import class_figures
from tests.compare.report.records import LORA, comparison

TWO = SingleLabel(("no", "yes"))


def answers(rows: int, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    chance = random.random(rows).astype(np.float32)
    labels = (random.random(rows) < chance**2).astype(np.int64)
    return Answers(np.arange(rows), labels, np.stack([1 - chance, chance], axis=1), TWO)


def test_the_bins_are_those_of_the_calibration_error() -> None:
    seeds = [answers(500, seed) for seed in (1, 2)]
    found = reliability(seeds)
    assert found is not None
    errors = [
        class_figures(np.log(each.answers.astype(np.float64)), each.answers, each.labels, TWO.class_names)["ece"]
        for each in seeds
    ]
    assert found.error == pytest.approx(np.mean(errors), abs=1e-6)
    assert found.counts.sum() == 1000
    assert found.counts[:7].sum() == 0  # nobody answers a class that is less probable than the other
    confidence = np.concatenate([each.answers.max(axis=1) for each in seeds])
    right = np.concatenate([each.scores for each in seeds])
    last = confidence >= 14 / 15
    assert found.accuracy[-1] == pytest.approx(right[last].mean())
    assert found.confidence[-1] == pytest.approx(confidence[last].mean())
    assert found.mean_accuracy == pytest.approx(right.mean())


def test_each_label_of_a_text_is_a_decision() -> None:
    probabilities = np.array([[0.9, 0.2], [0.4, 0.6]], dtype=np.float32)
    found = reliability([Answers(np.arange(2), np.array([[1, 1], [0, 1]]), probabilities, MultiLabel(("a", "b")))])
    assert found is not None
    assert found.counts.tolist() == [0] * 9 + [2, 0, 0, 1, 1, 0]
    assert found.accuracy[[9, 12, 13]].tolist() == [1.0, 0.0, 1.0]


def test_coverage_is_the_score_of_the_surest_answers() -> None:
    one = answers(200)
    surest = np.argsort(-one.answers.max(axis=1))
    found = coverage([one], (1.0, 0.5, 0.1))
    assert found is not None
    assert found == pytest.approx([one.scores.mean(), one.scores[surest[:100]].mean(), one.scores[surest[:20]].mean()])
    both = coverage([one, answers(200, 1)], (0.3,))
    each: list[Any] = [coverage([seed], (0.3,)) for seed in (one, answers(200, 1))]
    assert both == pytest.approx(np.mean(each))


def test_equally_sure_answers_count_with_their_mean_whatever_their_order() -> None:
    probabilities = np.array([[0.1, 0.9]] * 4, dtype=np.float32)
    one = Answers(np.arange(4), np.array([1, 1, 0, 0]), probabilities, TWO)
    assert coverage([one], (0.25, 0.5, 1.0)) == pytest.approx([0.5, 0.5, 0.5])


def test_numbers_have_no_certainty() -> None:
    one = Answers(np.arange(3), np.zeros(3), np.ones(3), Regression())
    assert reliability([one]) is None
    assert coverage([one]) is None


def test_the_page_has_a_panel_for_each_recipe_and_what_was_fitted(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "other": LORA}, (1, 2), reviews=60)
    path = sorted(folder.glob("**/results.json"))[0]
    record = RunRecord.read(path)
    record.calibration = CalibrationFigures(
        1.75, {"positive": 0.25}, "f1", 300, {"test/ece": 0.111, "test/acc": 0.9}, {"test/ece": 0.022, "test/acc": 0.95}
    )
    record.write(path)
    assert write_report(folder, texts=False) == ()
    page = (folder / "report.html").read_text()
    assert page.count("Reliability of ") == 2
    assert '<a href="#certainty">Certainty</a>' in page
    section = page[page.index('<h2 id="certainty">') :]
    section = section[: section.index("</section>")]
    assert re.search(r"1\.750</td><td>positive 0\.250</td>", section)
    assert '<td class="number">0.022<span class="second">0.111</span></td>' in section
    assert '<td class="number">95.0 %<span class="second">90.0 %</span></td>' in section


def test_of_many_recipes_the_best_eight_have_panels_and_all_have_rows(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {f"r{number:02}": LORA for number in range(12)}, (1,), reviews=40)
    study = read_study(folder)
    shown = describe_certainty(study, find(study))
    assert shown is not None
    assert len(shown["panels"]) == 8
    assert len(shown["rows"]) == 12
    assert shown["sentence"].startswith("Of 12 recipes r00")
    assert shown["fitted"] is None


def test_the_section_is_left_out_where_answers_have_no_probabilities(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "other": LORA}, (1,), reviews=40)
    for number, path in enumerate(sorted(folder.glob("**/predictions.parquet"))):
        values = np.linspace(0, 1, 40)
        write_answers(path, Answers(np.arange(40), values, values + number / 10, Regression()))
        record = RunRecord.read(path.with_name("results.json"))
        record.problem_type, record.metrics = "regression", {"test/mae": number / 10}
        record.write(path.with_name("results.json"))
    write_report(folder, texts=False)
    page = (folder / "report.html").read_text()
    assert "certainty" not in page
