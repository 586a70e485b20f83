"""Renders a page of a report from its template, one file without network or script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from peft_lightning import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, content: Mapping[str, Any]) -> str:
    """Returns a page.

    Args:
        template: The name of its template.
        content: What the template takes, beside the style and this program's version.
    """
    from markupsafe import Markup

    css = resources.files("peft_lightning.compare.report").joinpath("templates", "report.css").read_text("utf-8")
    page: str = _environment().get_template(template).render(css=Markup(css.strip()), version=__version__, **content)
    # Spaces at the ends of lines come from the template and are removed.
    return "\n".join(line.rstrip() for line in page.split("\n")).strip() + "\n"


@cache
def _environment() -> Environment:
    """Returns what keeps compiled templates: to compile those of a page takes a fifth of its time."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("peft_lightning.compare.report"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def bare_page(title: str, table: str, sentences: Sequence[str]) -> str:
    """Returns a page with the table alone, for a report whose page could not be rendered.

    Args:
        title: The comparison's name.
        table: The table in Markdown.
        sentences: What is left out, and why.
    """
    paragraphs = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)
    head = f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
    return f"{head}<body>\n<h1>{escape(title)}</h1>\n{paragraphs}<pre>{escape(table)}</pre>\n</body>\n</html>\n"
