"""Draws the share of the training and the test texts that have each class or label."""

from __future__ import annotations

from collections.abc import Sequence

from peft_lightning.compare.report.figure_words import percent
from peft_lightning.compare.report.label_words import width as width_of
from peft_lightning.compare.report.plots.headline import LETTER
from peft_lightning.compare.report.plots.svg import FAINT, INK, PARTS, as_svg, drawing

NAME = "shares"
WIDTH, ROW = 440, 34
# Width for the numbers of texts on the right.
MARGIN = 100


def draw_shares(labels: Sequence[tuple[str, int | None, int]], train: int, test: int) -> str:
    """Draws two bars for each class or label, training above test.

    Args:
        labels: Name of each, number of training texts that have it (None if not recorded), and number of test texts.
        train: Number of training texts.
        test: Number of test texts.

    Returns:
        The picture.
    """
    from matplotlib.ticker import MaxNLocator

    width, height = WIDTH, ROW * len(labels) + 46
    left = min(200.0, 20 + LETTER * max(width_of(label) for label, _, _ in labels))
    shares = [(None if had is None else had / max(1, train), has / max(1, test)) for _, had, has in labels]
    with drawing(NAME, width, height) as figure:
        figure.subplots_adjust(left=left / width, right=1 - MARGIN / width, top=1 - 6 / height, bottom=40 / height)
        axes = figure.add_subplot()
        for place, ((_, had, has), (in_train, in_test)) in enumerate(zip(labels, shares, strict=True)):
            if in_train is not None:
                axes.barh(place - 0.17, in_train, 0.3, color=PARTS[3])
            axes.barh(place + (0.17 if in_train is not None else 0), in_test, 0.3, color=PARTS[0])
            counts = f"{has:,}" if had is None else f"{had:,} / {has:,}"
            axes.annotate(
                counts,
                (1.0, place),
                xycoords=axes.get_yaxis_transform(),
                xytext=(MARGIN - 10, 0),
                textcoords="offset points",
                va="center",
                ha="right",
                color=FAINT,
            )
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(0, 1.03 * max([share for pair in shares for share in pair if share is not None] or [1.0]) or 1.0)
        axes.set_yticks(range(len(labels)), [label for label, _, _ in labels], color=INK)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.grid(axis="x")
        axes.set_xlabel("share of the texts")
        text = "; ".join(
            f"{label} {'' if in_train is None else f'{percent(in_train)} of training, '}{percent(in_test)} of test"
            for (label, _, _), (in_train, in_test) in zip(labels, shares, strict=True)
        )
        return as_svg(figure, NAME, f"Shares of the texts: {text}.")
