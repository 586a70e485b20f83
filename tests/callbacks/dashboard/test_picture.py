import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from peft_lightning.callbacks.dashboard import picture as dashboard_figure
from peft_lightning.callbacks.dashboard.picture import render
from peft_lightning.runs.curves import BUCKETS, Curves
from peft_lightning.task import FIRST
from tests.samples import mostly_slow


def curves(tmp_path: Path, steps: int, every: int = 1) -> Curves:
    """Falling losses with one high and one low spike, and a validation every so many steps."""
    found = Curves(tmp_path / "history.csv", FIRST.headline)
    for step in range(1, steps + 1):
        found.add("train/loss", step, {steps // 3: 9.0, steps // 2: -9.0}.get(step, 1 / step))
        found.add("train/learning_rate", step, 1e-3 * (1 - step / steps))
        if step % every == 0:
            found.add("val/loss", step, 1 / step)
            found.add("val/acc", step, 1 - 1 / step)
    return found


def drawn(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Figure:
    """The figure behind a picture."""
    figures: list[Figure] = []
    original = dashboard_figure._png

    def noted(figure: Figure) -> bytes:
        figures.append(figure)
        return original(figure)

    monkeypatch.setattr(dashboard_figure, "_png", noted)
    content = render(*arguments)
    assert content.startswith(b"\x89PNG")
    return figures[0]


@pytest.mark.parametrize("steps", mostly_slow((0, 1, 3, 100_000), fast=(0, 3)))
def test_any_number_of_steps_gives_a_readable_picture(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(monkeypatch, curves(tmp_path, steps, every=max(1, steps // 10)), "lora · run 12", "step 7")
    assert {"lora · run 12", "step 7"} <= {text.get_text() for text in figure.texts}
    loss, accuracy, rate = figure.axes
    for axes in (loss, accuracy, rate):
        for line in axes.lines:
            shown = np.asarray(line.get_xdata())
            assert 0 < len(shown) < 4 * BUCKETS
            assert len(shown) > 1 or line.get_marker() == "o", "a line of one point cannot be seen"
            low, high = axes.get_xlim()
            assert low <= min(shown) <= max(shown) <= high
    if steps == 0:
        assert [text.get_text() for text in accuracy.texts] == ["nothing measured yet"]
    if steps == 100_000:
        raw = np.asarray(loss.lines[0].get_ydata())
        assert raw.max() == 9
        assert raw.min() == -9
        alpha = loss.lines[0].get_alpha()
        assert alpha is not None
        assert alpha < 0.5
        assert accuracy.lines[0].get_marker() == "o"


@pytest.mark.parametrize("accuracies", [(0.0, 0.5, 1.0), (1.0, 1.0), (1.0,), (0.0, 0.0)])
def test_the_accuracy_s_axis_promises_no_more_than_100_per_cent_and_shows_a_line_there_whole(
    accuracies: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Curves(tmp_path / "history.csv", FIRST.headline)
    for step, accuracy in enumerate(accuracies, start=1):
        found.add("val/acc", step, accuracy)
    axes = drawn(monkeypatch, found, "", "").axes[1]
    low, high = axes.get_ylim()
    assert 0 <= low < high <= 1
    assert low <= min(accuracies) <= max(accuracies) <= high
    assert not axes.lines[0].get_clip_on()


def test_memory_is_drawn_only_where_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = curves(tmp_path, 3)
    assert len(drawn(monkeypatch, found, "", "").axes) == 3
    found.add("memory/peak", 2, 1.5)
    figure = drawn(monkeypatch, found, "", "", 8.0)
    assert len(figure.axes) == 4
    assert "of 8.0" in figure.axes[-1].get_title(loc="left")


def test_the_user_s_style_and_figures_are_left_alone(tmp_path: Path) -> None:
    plain = render(curves(tmp_path, 5), "a", "b")
    with matplotlib.rc_context({"axes.facecolor": "black", "text.color": "white", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert render(curves(tmp_path, 5), "a", "b") == plain
        assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
    assert pyplot.imread(io.BytesIO(plain)).shape[:2] == (660, 1200)
