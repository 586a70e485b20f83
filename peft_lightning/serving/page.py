"""The page to type a text into, or the two texts of a pair; it needs no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The page needs its own style and form, and nothing else from anywhere.
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
# Below this a number of four decimals would be shown as nothing.
_SMALL = 5e-4


@dataclass(frozen=True)
class Page:
    """What a visitor sees.

    Args:
        title: What is served.
        details: A line about it.
        pairs: Whether it takes pairs of texts.
        text: What was typed as the text, or the first of a pair.
        second: What was typed as the second.
        mistake: Why there is no answer; empty if there is one, or none was asked for.
        answer: A line of ``predict``; None if there is none.
    """

    title: str
    details: str
    pairs: bool
    text: str = ""
    second: str = ""
    mistake: str = ""
    answer: Mapping[str, Any] | None = None

    def render(self) -> str:
        """Returns the page in HTML."""
        import jinja2

        source = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
        heading, rows = _answer_in_words(self.answer or {})
        return template.render(page=self, heading=heading, rows=rows)


def _answer_in_words(line: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Returns what an answer decides, which several numbers do not, and what it measures, name by name."""
    heading, rows = "", []
    for value in line.values():
        if isinstance(value, dict):
            rows += [(name, _in_words(figure)) for name, figure in value.items()]
        elif isinstance(value, list):
            heading = ", ".join(value) or "none of the labels"
        else:
            heading = _in_words(value)
    return heading, rows


def _in_words(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2g}" if 0 < abs(value) < _SMALL else f"{value:.4f}"
