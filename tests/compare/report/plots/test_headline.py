from dataclasses import replace

import pytest

from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.plots.headline import draw_headlines, draw_tradeoff
from peft_lightning.compare.report.reading import read_study
from peft_lightning.task import FIRST
from tests.compare.report.records import FOUR, comparison

ACCURACY = FIRST.headline


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Figures, ...]:
    study = read_study(comparison(tmp_path_factory.mktemp("comparison"), FOUR, (1, 2), 400))
    return summarise(study, find(study))


def test_the_words_of_the_picture_are_the_figures(rows: tuple[Figures, ...]) -> None:
    svg, note = draw_headlines(rows, {}, ACCURACY)
    for row in rows:
        assert row.headline is not None
        assert f"{row.label} {100 * row.headline:.1f} %" in svg
    assert note.startswith("The axis runs from ")
    assert note.endswith(" %, not from 0.")


def test_an_axis_from_0_needs_no_excuse(rows: tuple[Figures, ...]) -> None:
    _, note = draw_headlines([replace(rows[0], headline=0.01), rows[1]], {}, ACCURACY)
    assert note == ""


def test_what_was_not_tested_is_no_point(rows: tuple[Figures, ...]) -> None:
    svg, _ = draw_headlines([rows[0], replace(rows[1], headline=None, interval=None)], {}, ACCURACY)
    assert "full" in svg
    assert "lora" not in svg
    assert draw_headlines([replace(rows[0], headline=None)], {}, ACCURACY) == ("", "")


def test_the_front_is_named(rows: tuple[Figures, ...]) -> None:
    shown = [replace(row, headline=value) for row, value in zip(rows, (0.9, 0.9, 0.0, 0.5), strict=True)]
    svg, front = draw_tradeoff(
        "cost", shown, {"full": 4.0, "lora": 2.0, "qlora": 1.0, "ia3": 3.0}, "GiB", "memory", ACCURACY
    )
    assert front == ["qlora", "lora"]
    assert "qlora 0.0 % at 1" in svg


def test_one_point_is_no_picture(rows: tuple[Figures, ...]) -> None:
    assert draw_tradeoff("cost", rows, {"full": 4.0}, "GiB", "memory", ACCURACY) == ("", [])
