"""Answers that are numbers, by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error

from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.leaders import Leaders, find_leaders
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.numbers import numbers, signed, size_groups
from tests.compare.report.of_tasks import EVERY, comparison_of
from tests.compare.report.records import FOUR, IA3, LORA, Made


def made(folder: Path, name: str, recipes: dict[str, Made]) -> Leaders:
    study = read_study(comparison_of(folder, EVERY[name], recipes, (1, 2), 120))
    findings = find(study)
    leaders = find_leaders(study, findings, findings.task)
    assert leaders is not None
    return leaders


def test_errors_by_size_are_scikit_learn_s_over_all_seeds(tmp_path: Path) -> None:
    leaders = made(tmp_path, "number", {"lora": LORA, "ia3": IA3})
    content = numbers(leaders)
    assert content is not None
    (number,) = content["numbers"]
    groups = size_groups(leaders.labels)
    assert [row["name"] for row in number["rows"]] == [name for name, _ in groups]
    for row, (_, rows) in zip(number["rows"], groups, strict=True):
        truth = leaders.labels[rows].astype(np.float64)
        for cell, leader in zip(row["cells"], leaders.shown, strict=True):
            answered = [seed.answers[rows].astype(np.float64) for seed in leader.answers]
            assert float(cell["error"]) == pytest.approx(
                np.mean([mean_absolute_error(truth, values) for values in answered]), abs=6e-4
            )
            assert cell["bias"] == signed(float(np.mean([values - truth for values in answered])))
    # The answers of these tests shrink towards the middle.
    assert number["rows"][0]["cells"][0]["bias"].startswith("+")
    assert number["rows"][-1]["cells"][0]["bias"].startswith("−")


@pytest.mark.slow
def test_the_largest_errors_are_named_by_their_rows_and_have_no_text(tmp_path: Path) -> None:
    leaders = made(tmp_path, "number", {"lora": LORA})
    content = numbers(leaders)
    assert content is not None
    (number,) = content["numbers"]
    errors = np.mean([np.abs(seed.answers - seed.labels) for seed in leaders.shown[0].answers], axis=0)
    place = int(errors.argmax())
    assert number["worst"][0]["id"] == leaders.ids[place]
    assert number["worst"][0]["label"] == f"{leaders.labels[place]:.4g}"
    mean = np.mean([seed.answers[place] for seed in leaders.shown[0].answers], dtype=np.float64)
    assert number["worst"][0]["cells"] == [f"{mean:.4g}"]
    assert number["panels"][0]["svg"].count("<title>row ") == 5


@pytest.mark.slow
def test_several_numbers_are_shown_one_by_one(tmp_path: Path) -> None:
    leaders = made(tmp_path, "numbers", {**FOUR, "head": replace(LORA, accuracy=0.5)})
    content = numbers(leaders)
    assert content is not None
    assert [number["name"] for number in content["numbers"]] == ["valence", "arousal"]
    assert [len(number["panels"]) for number in content["numbers"]] == [4, 4]
    assert content["notes"] == ["The answers of the first 4 recipes are shown, and the errors of all."]
    assert [len(row["cells"]) for row in content["numbers"][1]["rows"]] == [5] * 6


def test_groups_hold_every_label_once_and_one_value_is_one_group() -> None:
    values = np.random.default_rng(2).normal(size=500)
    groups = size_groups(values)
    assert np.sum([rows for _, rows in groups], axis=0).tolist() == [1] * 500
    assert len(groups) == 6
    assert [name for name, _ in size_groups(np.full(9, 2.5))] == ["2.5"]
    stars = size_groups(np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 20))
    assert [name for name, _ in stars] == ["1", "2", "3", "4", "5"]


def test_classes_are_no_numbers(tmp_path: Path) -> None:
    assert numbers(made(tmp_path, "three classes", {"lora": LORA})) is None


def test_a_mean_error_of_a_small_unit_is_no_zero() -> None:
    assert [signed(value) for value in (0.25, -0.25, 2.4e-05, -0.00123456, 0.0)] == [
        "+0.250", "−0.250", "+2.4e-05", "−0.00123", "+0.000"
    ]  # fmt: skip
