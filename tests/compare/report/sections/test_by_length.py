"""The headline metric by the length of the text, by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.leaders import Leader, Leaders, find_leaders
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.by_length import by_length, length_groups
from peft_lightning.compare.report.study import Study
from tests.compare.report.of_tasks import EVERY, LONGEST, comparison_of
from tests.compare.report.records import IA3, LORA


def made(folder: Path, name: str = "number", lengths: bool = True) -> tuple[Study, Leaders]:
    study = read_study(comparison_of(folder, EVERY[name], {"lora": LORA, "ia3": IA3}, (1, 2), 120, lengths))
    findings = find(study)
    leaders = find_leaders(study, findings, findings.task)
    assert leaders is not None
    return study, leaders


def test_every_text_is_in_one_group_and_groups_are_about_as_large() -> None:
    lengths = np.minimum(64, np.random.default_rng(1).geometric(0.03, 1000) + 5)
    groups = length_groups(lengths, 64)
    assert np.sum([rows for _, rows in groups], axis=0).tolist() == [1] * 1000
    assert groups[-1][0] == "64, cut"
    assert groups[-1][1].tolist() == (lengths == 64).tolist()
    sizes = [int(rows.sum()) for _, rows in groups[:-1]]
    assert max(sizes) < 1.5 * min(sizes)
    assert groups[0][0] == f"6–{lengths[groups[0][1]].max()}"


def test_few_texts_of_the_greatest_length_are_no_group_of_their_own() -> None:
    lengths = np.array([10] * 50 + [20] * 50 + [64] * 3)
    names = [(name, int(rows.sum())) for name, rows in length_groups(lengths, 64)]
    assert names == [("10", 50), ("20–64", 53)]
    assert [name for name, _ in length_groups(np.array([7, 7]), None)] == ["7"]
    assert [name for name, _ in length_groups(np.full(20, 64), 64)] == ["64, cut"]


def test_figures_are_means_over_the_texts_and_seeds_of_a_group(tmp_path: Path) -> None:
    study, leaders = made(tmp_path)
    metric = study.task.headline
    content = by_length(study, leaders, metric)
    first = leaders.shown[0].answers[0]
    assert first.lengths is not None
    groups = length_groups(first.lengths, LONGEST)
    assert [row["name"] for row in content["rows"]] == [name for name, _ in groups]
    for row, (_, rows) in zip(content["rows"], groups, strict=True):
        for cell, leader in zip(row["cells"], leaders.shown, strict=True):
            errors = [np.abs(seed.answers.astype(np.float64) - seed.labels)[rows].mean() for seed in leader.answers]
            assert cell == metric.words(float(np.mean(errors)))
        assert row["texts"] == str(rows.sum())
    # The runs of these tests are worse where texts are long.
    values = [float(row["cells"][0]) for row in content["rows"]]
    assert values[-1] > values[0]
    cut = int((first.lengths == LONGEST).sum())
    assert content["notes"] == [
        f"{cut} of 120 texts had all 256 tokens that a text may have: the longer ones were cut there."
    ]
    assert f"{groups[0][0]}, {groups[0][1].sum()} texts: lora {content['rows'][0]['cells'][0]}" in content["svg"]


@pytest.mark.slow
def test_what_is_due_to_chance_is_the_widest_interval_of_the_recipes(tmp_path: Path) -> None:
    study, leaders = made(tmp_path)
    content = by_length(study, leaders, study.task.headline)
    first = leaders.shown[0].answers[0]
    assert first.lengths is not None
    rows = length_groups(first.lengths, LONGEST)[0][1]
    widths = [1.96 * leader.scores[rows].std(ddof=1) / rows.sum() ** 0.5 for leader in leaders.shown]
    assert float(content["rows"][0]["chance"]) == pytest.approx(max(widths), rel=5e-3)


def test_runs_that_are_older_than_lengths_say_so_in_place_of_the_picture(tmp_path: Path) -> None:
    study, leaders = made(tmp_path, lengths=False)
    content = by_length(study, leaders, study.task.headline)
    assert list(content) == ["missing"]
    assert content["missing"].startswith("The lengths of the texts are not in these runs' answers")


@pytest.mark.slow
def test_other_tokenizers_are_named(tmp_path: Path) -> None:
    study, leaders = made(tmp_path)
    lora, ia3 = leaders.shown
    lengths = ia3.answers[0].lengths
    assert lengths is not None
    others = tuple(replace(seed, lengths=lengths + 1) for seed in ia3.answers)
    content = by_length(study, replace(leaders, shown=(lora, Leader("ia3", 1, others))), study.task.headline)
    assert content["notes"][-1] == "Tokens are those of lora; other recipes' tokenizers or limits count others."
