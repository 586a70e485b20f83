"""The sections on answers in a page: each task has its own, one that fails costs no other, many stay readable."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.report import write_report
from tests.compare.report.of_tasks import EVERY, comparison_of
from tests.compare.report.records import IA3, LORA
from tests.compare.report.test_failed_sections import section
from tests.samples import mostly_slow

TWO = {"lora": LORA, "ia3": IA3}
ALL = ("confusion", "shares", "labels", "numbers", "lengths", "disagreements")
SECTIONS = {
    "three classes": ("confusion", "shares", "labels", "lengths", "disagreements"),
    "twenty classes": ("confusion", "shares", "labels", "lengths", "disagreements"),
    "labels": ("shares", "labels", "lengths", "disagreements"),
    "number": ("numbers", "lengths", "disagreements"),
    "numbers": ("numbers", "lengths", "disagreements"),
}


def page_of(folder: Path, name: str, **options: bool) -> str:
    comparison_of(folder, EVERY[name], TWO, (1, 2), 120, **options)
    assert write_report(folder, texts=False) == ()
    return (folder / "report.html").read_text()


@pytest.mark.parametrize("name", mostly_slow(EVERY, fast=["labels"]))
def test_each_task_has_its_sections_and_no_other(name: str, tmp_path: Path) -> None:
    page = page_of(tmp_path, name)
    assert tuple(id for id in ALL if f'<h2 id="{id}">' in page) == SECTIONS[name]
    assert tuple(id for id in ALL if f'<a href="#{id}">' in page) == SECTIONS[name]
    for id in SECTIONS[name]:
        if id not in ("confusion", "disagreements"):
            assert "<svg" in section(page, id), id
            assert 'role="img"' in section(page, id), id
    if name == "labels":
        # Names from the data are text, wherever they stand.
        assert "a &lt;b&gt;$5$&lt;/b&gt; label" in section(page, "labels")
        assert "<b>$5$" not in page
        assert "=sum of lines" in section(page, "shares")


@pytest.mark.slow
def test_runs_that_are_older_than_lengths_have_every_other_picture(tmp_path: Path) -> None:
    page = page_of(tmp_path, "labels", lengths=False)
    assert "<svg" not in section(page, "lengths")
    assert "they are older than that column" in section(page, "lengths")
    assert "The records do not say how many training texts have each label." in section(page, "shares")
    assert "training texts</li>" not in section(page, "shares")
    assert section(page, "labels").count("<svg") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shares", "by_label", "numbers", "by_length"])
def test_a_section_of_answers_that_fails_costs_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    task = "number" if name == "numbers" else "labels"
    comparison_of(tmp_path, EVERY[task], TWO, (1,), 60)
    monkeypatch.setattr(f"peft_lightning.compare.report.sections.answer_pictures.{name}", fail)
    (sentence,) = write_report(tmp_path, texts=False)
    assert sentence.endswith("left out: ZeroDivisionError: no luck.")
    page = (tmp_path / "report.html").read_text()
    id = {"by_label": "labels", "by_length": "lengths"}.get(name, name)
    assert sentence in section(page, id)
    for other in SECTIONS[task]:
        assert (sentence in section(page, other)) is (other == id)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["twenty classes", "number"])
def test_thirty_recipes_stay_below_a_megabyte_and_show_the_best_eight(name: str, tmp_path: Path) -> None:
    recipes = {f"method_{n:02d}": replace(LORA, method=f"method_{n:02d}", accuracy=0.93 - 0.01 * n) for n in range(30)}
    comparison_of(tmp_path, EVERY[name], recipes, (1, 2), 1000, rare=True)
    assert write_report(tmp_path, texts=False) == ()
    page = (tmp_path / "report.html").read_text()
    ours = sum(len(section(page, id)) for id in SECTIONS[name])
    assert ours < 300_000
    assert len(page) < 1_000_000
    for id in SECTIONS[name][:-1]:
        if id != "shares":
            assert "The best 8 of 30 recipes are shown." in section(page, id)
            named = set(re.findall(r"method_\d\d", section(page, id)))
            assert len(named) == 8, id
    assert "best recipe" in section(page, "disagreements") or "recipes right" in section(page, "disagreements")
