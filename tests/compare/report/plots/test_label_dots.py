"""Pictures by class: their words are the figures, and rare classes are hollow."""

import math

from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.label_dots import draw_by_label
from peft_lightning.task import SingleLabel

TWO = (Leader("lora", 0, ()), Leader("ia3", 1, ()))
ACCURACY = SingleLabel.headline


def test_figures_of_labels_are_in_words_and_an_undefined_one_is_a_dash() -> None:
    labels = [("$a$ <b>", 300, False), ("rare", 3, True)]
    values = [{"lora": 0.5, "ia3": 0.75}, {"lora": 1.0, "ia3": math.nan}]
    svg = draw_by_label("f1", TWO, labels, values, ACCURACY, "recall")
    assert "$a$ &lt;b&gt; (300 texts) lora 50.0 %, ia3 75.0 %; rare (3 texts) lora 100.0 %, ia3 –." in svg
    assert ">$a$ &lt;b&gt;</text>" in svg
    # A hollow marker is filled with the page's surface; one recipe has it, and the other's is not drawn.
    hollow = [line for line in svg.splitlines() if "fill: var(--surface); stroke: var(--series-" in line]
    assert any("--series-1" in line for line in hollow)
    assert not any("--series-2" in line for line in hollow)
