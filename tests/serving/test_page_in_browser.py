"""The server's page in a real browser: what is typed is answered, and every answer can be read on every screen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.serving.page import Page
from tests.compare.report.chromium import PATIENCE_S, Chromium
from tests.compare.report.test_in_browser import CONTRAST
from tests.compare.report.test_in_browser import browser as browser
from tests.integration.offline_run import only_run
from tests.integration.test_serving import served

pytestmark = pytest.mark.slow
LONG = "/home/somebody/lightning_logs/lora/version_0/exports/" + "a_model_whose_name_goes_on_" * 4
MANY = {f"label number {number} with a long name of its own": number / 40 for number in range(20)}
ANSWERS: dict[str, dict[str, Any]] = {
    "class": {"label": "x" * 90, "probabilities": {"x" * 90: 0.9, "no": 0.1}},
    "labels": {"labels": list(MANY)[:5], "probabilities": MANY},
    "number": {"value": 3.25},
    "numbers": {"values": {"stars": 3.25, "dollars": -127000.5}},
    "mistake": {},
}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_answer_can_be_read_and_nothing_scrolls_sideways(
    width: int, scheme: str, browser: Chromium, tmp_path: Path
) -> None:
    for name, answer in ANSWERS.items():
        page = Page(LONG, "lora, regression", pairs=True, text="a " * 500, second="b" * 500, answer=answer or None)
        file = tmp_path / f"{name}.html"
        file.write_text(Page.render(page if answer else Page(LONG, "", pairs=False, mistake="the text is blank " * 9)))
        browser.open(file, width, scheme)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, name
        assert json.loads(browser.evaluate(CONTRAST)) == [], name
    dark = browser.evaluate("getComputedStyle(document.documentElement).backgroundColor") != "rgb(255, 255, 255)"
    assert dark is (scheme == "dark")


def test_a_text_that_is_typed_is_answered_and_stays(
    browser: Chromium, tiny_fit: list[str], trained_once: Callable[..., None]
) -> None:
    trained_once("--model.learning_rate", "1e-2")
    with served(only_run(Path())) as (_, port):
        browser.open(f"http://127.0.0.1:{port}/", 390)
        end = time.monotonic() + PATIENCE_S
        # A browser gives an autofocus field its focus when it first draws the page, which may be after it has loaded.
        while browser.evaluate("document.activeElement.id") != "text":
            assert time.monotonic() < end
            time.sleep(0.1)
        browser.evaluate("document.querySelector('textarea').value = 'a <joy> & more'")
        browser.evaluate("document.querySelector('button').click()")
        while not browser.evaluate("document.querySelectorAll('td').length"):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert browser.evaluate("document.querySelector('textarea').value") == "a <joy> & more"
        shares = json.loads(
            browser.evaluate("JSON.stringify([...document.querySelectorAll('td')].map(td => +td.textContent))")
        )
        assert sum(shares) == pytest.approx(1, abs=2e-4)
        browser.evaluate("document.querySelector('textarea').removeAttribute('required')")
        browser.evaluate("document.querySelector('textarea').value = ' '")
        browser.evaluate("document.querySelector('button').click()")
        while not browser.evaluate("document.querySelectorAll('[role=alert]').length"):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert (
            browser.evaluate("document.querySelector('[role=alert]').textContent") == "the text in the field is blank"
        )
    refused = [
        event
        for event in browser.events
        if event.get("method") == "Log.entryAdded" and "Content Security" in str(event)
    ]
    assert refused == []
