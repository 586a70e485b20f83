from __future__ import annotations

import re
from typing import Any

import pytest

from peft_lightning.serving.page import Page


def rows(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', html)


@pytest.mark.parametrize(
    ("answer", "heading", "figures"),
    [
        (
            {"label": "gut", "probabilities": {"gut": 0.75, "schlecht": 0.00001}},
            "gut",
            [("gut", "0.7500"), ("schlecht", "1e-05")],
        ),
        ({"labels": ["a", "b"], "probabilities": {"a": 0.5, "b": 0.6}}, "a, b", [("a", "0.5000"), ("b", "0.6000")]),
        ({"labels": [], "probabilities": {"a": 0.0}}, "none of the labels", [("a", "0.0000")]),
        ({"value": 3.25}, "3.2500", []),
        ({"values": {"stars": 3.25, "dollars": -12700.0}}, None, [("stars", "3.2500"), ("dollars", "-12700.0000")]),
    ],
    ids=["classes", "labels", "no label", "number", "numbers"],
)
def test_an_answer_of_every_kind_is_shown_with_the_names_of_its_figures(
    answer: dict[str, Any], heading: str | None, figures: list[tuple[str, str]]
) -> None:
    html = Page("m", "d", pairs=False, text="a", answer=answer).render()
    assert re.findall(r"<h2>(.*?)</h2>", html) == ([] if heading is None else [heading])
    assert rows(html) == figures


def test_a_model_of_pairs_has_a_field_for_each_text_and_others_have_one() -> None:
    html = Page("m", "d", pairs=True, text="one <b>", second="two & three", mistake="the second text is blank").render()
    assert re.findall(r'<textarea id="(\w+)"', html) == ["text", "text_pair"]
    assert ">\none &lt;b&gt;</textarea>" in html
    assert ">\ntwo &amp; three</textarea>" in html
    assert "the second text is blank" in html
    assert re.findall(r'<textarea id="(\w+)"', Page("m", "d", pairs=False).render()) == ["text"]
