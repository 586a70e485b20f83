from peft_lightning.compare.report.leaders import Leader
from peft_lightning.compare.report.plots.binned_lines import draw_by_bin
from peft_lightning.task import SingleLabel

TWO = (Leader("lora", 0, ()), Leader("ia3", 1, ()))


def test_figures_of_groups_are_in_words() -> None:
    values = {"lora": [0.9, 0.8], "ia3": [0.7, 0.6]}
    svg = draw_by_bin("length", TWO, [("8-31", 1200), ("32-256", 1)], values, SingleLabel.headline, "tokens")
    assert "8-31, 1,200 texts: lora 90.0 %, ia3 70.0 %; 32-256, 1 text: lora 80.0 %, ia3 60.0 %." in svg
