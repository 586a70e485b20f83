"""The report in a real browser: what a parser cannot know about a page."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.report import write_report
from tests.compare.report.chromium import NAMES, Chromium, find_chromium
from tests.compare.report.of_tasks import EVERY, comparison_of
from tests.compare.report.records import FOUR, IA3, LORA, comparison, fail, tournament, tune, write_run

pytestmark = pytest.mark.slow
WIDTHS = (360, 390, 1280)
# All that may be folded away is looked at too.
OPEN = "document.querySelectorAll('details').forEach(one => { one.open = true })"
CONTRAST = """(() => {
  const parse = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, i) => a * v + (1 - a) * under[i]);
  const behind = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    const seen = layers.reverse().filter(layer => (layer[3] ?? 1) > 0);
    return seen.reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), under = behind(element);
    const text = over(parse(element.closest('svg') ? style.fill : style.color), under);
    const [high, low] = [light(text), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push([element.textContent.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
  }
  return JSON.stringify(poor);
})()"""
COLLISIONS = """(() => {
  const found = [];
  for (const picture of document.querySelectorAll('svg')) {
    const frame = picture.getBoundingClientRect();
    const texts = [...picture.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    texts.forEach(([name, box], i) => {
      const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1
        && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
      if (!inside) found.push([name, 'is cut off']);
      for (const [other, its] of texts.slice(i + 1)) {
        // Boxes of text hold its leading: letters touch only beyond that.
        const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        if (wide > 1 && high > 4) found.push([name, other]);
      }
    });
  }
  return JSON.stringify(found);
})()"""
WITHOUT_ALTERNATIVE = """[...document.querySelectorAll('svg, img, canvas')].filter(picture =>
  !(picture.getAttribute('aria-label') || picture.getAttribute('alt'))).length"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        reason = f"no browser on PATH ({', '.join(NAMES)}): install Debian's package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with Chromium(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


MANY = "twenty, of which few have a label"
# Names of labels that are long or not plain, rare ones, and the pictures of numbers.
TASKS = ("labels", "numbers")


@pytest.fixture(
    scope="module",
    params=["four", "eight, some of them alike or failed", pytest.param(MANY, marks=pytest.mark.slow), *TASKS],
)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    if request.param == MANY:
        tournament(folder, 20, 2, 500)
        tune(folder, {f"method_{number:02d}": 5 for number in range(20)})
        write_report(folder, baseline="method_03")
        return folder / "report.html"
    if request.param in TASKS:
        comparison_of(folder, EVERY[request.param], rare=True)
        write_report(folder, texts=False)
        return folder / "report.html"
    recipes = dict(FOUR)
    if request.param != "four":
        recipes |= {
            "lora-r4": replace(LORA, accuracy=0.911, gpu=1.34),
            "lora-of-a-long-name": replace(LORA, gpu=1.36),
            "bitfit": replace(IA3, accuracy=0.895, gpu=1.36),
            "head": replace(IA3, accuracy=0.83, gpu=0.6),
        }
    comparison(folder, recipes, (1, 2), reviews=500)
    others = []
    if request.param != "four":
        for seed in (1, 2):
            fail(folder / "runs" / "bitfit" / f"seed_{seed}", "out_of_memory", "CUDA out of memory. " * 10)
            for record in (folder / "runs" / "bitfit" / f"seed_{seed}").rglob("results.json"):
                record.unlink()
        others.append(write_run(folder / "other", replace(LORA, gpu=None, cpu=1.5), 1, "on-a-cpu", 500, first_id=1))
    tune(folder, dict.fromkeys(recipes, 2))
    write_report(folder, others)
    return folder / "report.html"


def found(browser: Chromium, probe: str) -> Any:
    return json.loads(browser.evaluate(probe))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_does_not_scroll_sideways(browser: Chromium, page: Path, width: int) -> None:
    browser.open(page, width)
    browser.evaluate(OPEN)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser: Chromium, page: Path, scheme: str) -> None:
    browser.open(page, scheme=scheme)
    browser.evaluate(OPEN)
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")
    assert found(browser, CONTRAST) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_label_of_a_picture_covers_another_or_is_cut_off(browser: Chromium, page: Path, width: int) -> None:
    browser.open(page, width)
    count = browser.evaluate("document.querySelectorAll('svg').length")
    many = browser.evaluate("document.querySelectorAll('.differences').length")
    assert count >= (5 if many else 8)
    assert found(browser, COLLISIONS) == []


def test_every_picture_has_words_in_its_place(browser: Chromium, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate(WITHOUT_ALTERNATIVE) == 0


def test_no_request_leaves_the_file_and_nothing_is_complained_about(browser: Chromium, page: Path) -> None:
    browser.events.clear()
    browser.open(page)
    browser.evaluate("1")  # events come before the answer
    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.resolve().as_uri()]
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event["method"] in complaints] == []


def test_paper_is_white_and_cuts_no_picture(browser: Chromium, page: Path) -> None:
    browser.open(page, width=718, scheme="dark", media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("document.documentElement.scrollWidth") <= 718
    avoided = "[...document.querySelectorAll('figure')].every(one => getComputedStyle(one).breakInside === 'avoid')"
    assert browser.evaluate(avoided) is True
    assert found(browser, CONTRAST) == []
