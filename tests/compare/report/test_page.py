import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from peft_lightning.compare.report import write_report
from tests.compare.report.records import FOUR, LORA, comparison, fail, plan, write_run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """What a page is made of; elements that are not closed in order are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and re.fullmatch(r"h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data

    def all(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)


def whole(folder: Path) -> None:
    comparison(folder, reviews=60)


def partial(folder: Path) -> None:
    runs = plan(FOUR, (1, 2), folder).runs(folder)
    fail(runs[0].folder, "failed", "no reason")
    for run in runs[1:3]:
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        write_run(directory, FOUR[run.label], run.seed, run.label, 60)


def not_begun(folder: Path) -> None:
    plan(FOUR, (1,), folder)


def three_classes(folder: Path) -> None:
    made = replace(LORA, class_names=("bad", "fair", "good"))
    comparison(folder, {"lora": made, "ia3": replace(made, method="ia3", accuracy=0.8)}, (1,), 60)


@pytest.fixture(scope="module", params=[whole, partial, not_begun, three_classes], ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison and its report, written once: every test only reads it."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    request.param(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    return outline


@pytest.mark.slow
def test_headings_are_in_order(outline: Outline) -> None:
    levels = [level for level, _ in outline.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in outline.headings)


def test_ids_are_unique_and_every_link_has_its_target(outline: Outline) -> None:
    ids = Counter(str(attributes["id"]) for _, attributes in outline.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    named = [str(link["href"]).removeprefix("#") for link in outline.all("a")]
    named += [str(used["xlink:href"]).removeprefix("#") for used in outline.all("use")]
    named += [str(section["aria-labelledby"]) for section in outline.all("section")]
    assert set(named) <= set(ids)


def test_nothing_comes_from_anywhere_else(page: str, outline: Outline) -> None:
    assert not {"script", "img", "iframe", "object", "embed"} & {tag for tag, _ in outline.elements}
    assert [link["href"] for link in outline.all("link")] == ["data:,"]
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_every_picture_says_what_it_shows(outline: Outline) -> None:
    for picture in outline.all("svg"):
        assert picture["role"] == "img"
        assert picture["aria-label"]


def test_every_table_has_a_caption_and_every_heading_cell_its_scope(outline: Outline) -> None:
    tables = list(outline.all("table"))
    assert len(tables) == len(list(outline.all("caption")))
    assert all(cell.get("scope") for cell in outline.all("th"))


def test_every_figure_has_a_caption(outline: Outline) -> None:
    assert len(list(outline.all("figure"))) == len(list(outline.all("figcaption")))


def test_the_page_says_its_language_and_its_name(page: str, folder: Path) -> None:
    assert '<html lang="en">' in page
    assert f"<title>{folder.name}</title>" in page


def test_pictures_are_drawn_in_the_page_s_colours(page: str) -> None:
    assert "#0000" not in page.replace("#000000", "")
    if "<svg" in page:
        assert "var(--series-1)" in page
    assert "DejaVu" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_confusion_is_counted_over_the_seeds(tmp_path: Path) -> None:
    made = replace(LORA, accuracy=0.9, spread=0.0)
    comparison(tmp_path, {"lora": made}, (1, 2), 100)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    matrix = page[page.index('<table class="matrix">') :]
    counts = [int(count) for count in re.findall(r'--share: [\d.]+">(\d+)<', matrix)]
    assert sum(counts) == 200
    assert counts[0] + counts[3] == 180
    assert "span>negative</th>" in matrix
