import re
from pathlib import Path

from peft_lightning.compare.report.plots.learning_curves import draw_curves
from peft_lightning.runs.curves import Curves
from peft_lightning.task import FIRST


def curves(*accuracies: float) -> Curves:
    made = Curves(Path("nowhere"), FIRST.headline)
    for number, accuracy in enumerate(accuracies, 1):
        made.add("train/loss", 10 * number, 1 / number)
        made.add("val/loss", 10 * number, 1.1 / number)
        made.add("val/acc", 10 * number, accuracy)
    return made


def test_every_seed_is_a_line_in_the_recipe_s_colour() -> None:
    one = draw_curves("lora", 1, {"lora": [curves(0.8, 0.9)], "ia3": [curves(0.7, 0.8)]})
    two = draw_curves("lora", 1, {"lora": [curves(0.8, 0.9), curves(0.7, 0.85)], "ia3": [curves(0.7, 0.8)]})
    # Loss, validation loss and validation accuracy.
    lines = [len(re.findall(r"fill: none;[^\"]*stroke: var\(--series-2\)", svg)) for svg in (one, two)]
    assert lines == [3, 6]
    assert "2 seeds: validation accuracy peaked at 90.0 %, 85.0 %." in two


def test_the_others_are_shadows_on_the_same_axes() -> None:
    alone = draw_curves("lora", 0, {"lora": [curves(0.8, 0.9)]})
    beside = draw_curves("lora", 0, {"lora": [curves(0.8, 0.9)], "ia3": [curves(0.1, 0.2)]})
    assert "var(--ghost)" not in alone
    assert "var(--ghost)" in beside
    assert "20 %" not in alone
    assert "20 %" in beside


def test_a_run_that_has_only_begun_can_be_drawn() -> None:
    begun = Curves(Path("nowhere"), FIRST.headline)
    begun.add("train/loss", 5, 0.7)
    assert draw_curves("lora", 0, {"lora": [begun]}).startswith("<svg")
