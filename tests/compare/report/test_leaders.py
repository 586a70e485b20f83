"""Which recipes the pictures of answers show."""

from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.report.findings import best_first, find
from peft_lightning.compare.report.leaders import GLYPHS, MOST_SHOWN, find_leaders
from peft_lightning.compare.report.plots.svg import MARKERS
from peft_lightning.compare.report.reading import read_study
from tests.compare.report.records import LORA, comparison

TEN = {f"r{number:02d}": replace(LORA, accuracy=0.6 + number / 40) for number in range(10)}


def test_of_few_recipes_all_are_shown_in_the_colours_of_the_other_pictures(tmp_path: Path) -> None:
    study = read_study(comparison(tmp_path, {label: TEN[label] for label in ("r03", "r01", "r02")}, (1,), 60))
    # The first has no answers, and its colour is nobody else's.
    study = replace(study, recipes=(replace(study.recipes[0], runs=()), *study.recipes[1:]))
    findings = find(study)
    leaders = find_leaders(study, findings, findings.task)
    assert leaders is not None
    assert [(leader.label, leader.number) for leader in leaders.shown] == [("r01", 1), ("r02", 2)]
    assert leaders.sentence == ""
    assert [one["series"] for one in leaders.legend] == [2, 3]
    assert [one["glyph"] for one in leaders.legend] == list(GLYPHS[1:3])
    assert len(GLYPHS) == len(MARKERS)


@pytest.mark.slow
def test_of_many_the_baseline_and_the_best_are_shown(tmp_path: Path) -> None:
    folder = comparison(tmp_path, TEN, (1,), 40)
    for baseline, shown, sentence in (
        (None, [], f"The best {MOST_SHOWN} of 10 recipes are shown."),
        ("r00", ["r00"], f"The baseline and the best {MOST_SHOWN - 1} others of 10 recipes are shown."),
    ):
        planned = read_study(folder, baseline=baseline)
        findings = find(planned)
        study = best_first(planned, findings)
        leaders = find_leaders(study, findings, findings.task)
        assert leaders is not None
        best = [recipe.label for recipe in study.recipes if recipe.label not in shown]
        assert [leader.label for leader in leaders.shown] == [*shown, *best][:MOST_SHOWN]
        assert [leader.number for leader in leaders.shown] == list(range(MOST_SHOWN))
        assert leaders.others == 2
        assert leaders.sentence == sentence


def test_without_answers_nothing_is_shown(tmp_path: Path) -> None:
    study = read_study(comparison(tmp_path, {"r01": LORA}, (1,), 20))
    findings = find(study)
    assert find_leaders(study, replace(findings, answers={}), findings.task) is None
    assert find_leaders(study, findings, None) is None
