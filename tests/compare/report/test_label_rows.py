"""What the report says of each class and label, by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from peft_lightning.compare.report.findings import Findings, find
from peft_lightning.compare.report.label_rows import FEW, MOST_LABELS, LabelRow, few_in_words, hardest, label_rows
from peft_lightning.compare.report.leaders import Leaders, find_leaders
from peft_lightning.compare.report.reading import read_study
from tests.compare.report.of_tasks import EVERY, comparison_of
from tests.compare.report.records import IA3, LORA

TWO = {"lora": LORA, "ia3": IA3}


def found(folder: Path, name: str, **options: bool) -> tuple[Leaders, Findings]:
    study = read_study(comparison_of(folder, EVERY[name], TWO, (1, 2), 120, **options))
    findings = find(study)
    leaders = find_leaders(study, findings, findings.task)
    assert leaders is not None
    return leaders, findings


def test_f1_and_recall_of_each_class_are_scikit_learn_s_in_the_mean_of_the_seeds(tmp_path: Path) -> None:
    leaders, findings = found(tmp_path, "three classes")
    rows = label_rows(leaders, findings)
    support = np.bincount(leaders.labels)
    assert [row.test for row in rows] == sorted(support.tolist(), reverse=True)
    assert [row.train for row in rows] == [7 * row.test for row in rows]
    for leader in leaders.shown:
        predicted = [seed.answers.argmax(axis=1) for seed in leader.answers]
        f1 = np.mean([f1_score(leaders.labels, answers, average=None) for answers in predicted], axis=0)
        recall = np.mean([recall_score(leaders.labels, answers, average=None) for answers in predicted], axis=0)
        for row in rows:
            assert row.name == EVERY["three classes"].label_names[row.number]
            assert row.f1[leader.label] == pytest.approx(f1[row.number], abs=1e-12)
            assert row.scores[leader.label] == pytest.approx(recall[row.number], abs=1e-12)


def test_f1_of_each_label_is_scikit_learn_s_and_its_score_that_of_its_texts(tmp_path: Path) -> None:
    leaders, findings = found(tmp_path, "labels", rare=True)
    rows = label_rows(leaders, findings)
    assert [row.test for row in rows] == sorted(leaders.labels.sum(axis=0).tolist(), reverse=True)
    leader = leaders.shown[0]
    f1 = np.mean([f1_score(leaders.labels, seed.answers > 0.5, average=None) for seed in leader.answers], axis=0)
    for row in rows:
        assert row.f1[leader.label] == pytest.approx(f1[row.number], abs=1e-12)
        having = leaders.labels[:, row.number] == 1
        of_its_texts = np.mean([seed.scores[having].mean() for seed in leader.answers])
        assert row.scores[leader.label] == pytest.approx(of_its_texts, abs=1e-12)


@pytest.mark.slow
def test_records_that_are_older_than_the_counts_of_training_texts_have_none(tmp_path: Path) -> None:
    leaders, findings = found(tmp_path, "three classes", lengths=False)
    assert {row.train for row in label_rows(leaders, findings)} == {None}


def row(number: int, test: int, train: int | None = 100, f1: float = 0.5) -> LabelRow:
    return LabelRow(number, f"label {number}", test, train, {"lora": f1}, {"lora": f1})


def test_rare_labels_are_warned_about_with_what_a_text_of_them_weighs() -> None:
    assert few_in_words([row(0, 300), row(1, FEW)], "labels") == []
    assert few_in_words([row(0, 300), row(1, 12)], "labels") == [
        "label 1 has 12 test texts, each of which is 8 points of its recall: its figures are uncertain."
    ]
    assert few_in_words([row(0, 1), row(1, 3), row(2, 0), row(3, 40, train=0)], "labels") == [
        "label 0 has 1 test text, which is all of its recall: its figures are uncertain.",
        f"label 1 has fewer than {FEW} too.",
        "No test text has label 2, so its figures are undefined.",
        "No training text has label 3, which no recipe can have learned.",
    ]
    many = few_in_words([row(number, 5) for number in range(10)], "labels")
    assert many[1] == f"label 1, label 2, label 3, label 4, label 5 and 4 more have fewer than {FEW} too."


def test_of_many_labels_those_with_the_lowest_f1_are_drawn_in_the_order_of_their_texts() -> None:
    rows = [row(number, 100 - number, f1=(number * 7 % 50) / 50) for number in range(50)]
    shown = hardest([*rows, row(50, 0, f1=np.nan)])
    assert len(shown) == MOST_LABELS
    assert max(one.f1["lora"] for one in shown) == (MOST_LABELS - 1) / 50
    assert [one.test for one in shown] == sorted((one.test for one in shown), reverse=True)
    few = [replace(one) for one in rows[:5]]
    assert hardest(few) == few
