"""Turns a Matplotlib figure into inline SVG with the colours and fonts of the page.

The same picture serves dark, light and print: it is drawn in stand-in colours, which CSS variables then replace.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-in colours, all different. None is black or white, which Matplotlib uses by itself.
INK, FAINT, LINE, SURFACE, GHOST, FRONT = (f"#0000a{number}" for number in range(1, 7))
SERIES = tuple(f"#0000b{number}" for number in range(1, 9))
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
PARTS = tuple(f"#0000c{number}" for number in range(1, 5))
VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    LINE: "--line",
    SURFACE: "--surface",
    GHOST: "--ghost",
    FRONT: "--front",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES, 1)},
    **{color: f"--part-{number}" for number, color in enumerate(PARTS, 1)},
}
STYLE = {
    "svg.fonttype": "none",
    "path.simplify": False,
    "font.size": 12,
    "text.color": INK,
    # Else two dollar signs in a recipe's name make mathematics of what is between them.
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": FAINT,
    "axes.labelsize": 12,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}
NUMBER = re.compile(r"-?\d+\.\d{3,}")
# An inch of a figure has 72 SVG units at any resolution.
UNITS_PER_INCH = 72


def series(number: int) -> tuple[str, str]:
    """Returns the colour and the marker of a recipe.

    Args:
        number: Its position among the recipes. Beyond eight colours repeat, so pictures have labels too.
    """
    return SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]


@contextmanager
def drawing(name: str, width: int, height: int) -> Iterator[Figure]:
    """Makes a figure to draw on, in the report's style. The user's own style, which may need LaTeX, is restored after.

    Args:
        name: A word that is unique among the page's pictures.
        width: Width in the picture's units, which are CSS pixels at full size.
        height: Height in the same units.

    Yields:
        An empty figure, made without pyplot.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", {**STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        # The reader's browser draws the letters, and has more of them than Matplotlib's own font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width / UNITS_PER_INCH, height / UNITS_PER_INCH), dpi=UNITS_PER_INCH, facecolor="none")
        FigureCanvasAgg(figure)
        yield figure


def as_svg(figure: Figure, name: str, description: str, titles: Mapping[str, str] | None = None) -> str:
    """Turns a figure into an element of a page. Call it within ``drawing``.

    Args:
        figure: The figure.
        name: The picture's unique word, which prefixes its ids.
        description: The text for screen readers.
        titles: What a browser shows where the mouse rests on a part of the picture, by the part's Matplotlib ``gid``.

    Returns:
        An ``<svg>`` element.
    """
    content = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(content, format="svg", metadata=metadata)
    text = content.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # Matplotlib's style element would apply to the whole page.
    text = re.sub(r"<style[^>]*>.*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*</defs>\s*", "", text)
    width, height = (round(size * UNITS_PER_INCH) for size in figure.get_size_inches())
    root = (
        f'<svg class="plot" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{escape(description)}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    text = re.sub(r"<svg[^>]*>", lambda _: root, text, count=1)
    text = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", _font, text)
    text = re.sub(r"font-family: [^;\"]*(; )?", "", text)
    for gid, title in (titles or {}).items():
        text = text.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{escape(title)}</title>')
    text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", text)
    # Two decimals are enough: nobody sees less than a hundredth of a pixel.
    text = re.sub(r'\b(?:d|x|y|transform)="[^"]*"', lambda match: NUMBER.sub(_rounded, match[0]), text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return text.strip()


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}px"
