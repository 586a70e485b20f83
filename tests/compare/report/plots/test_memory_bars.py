from dataclasses import replace
from pathlib import Path

from peft_lightning.compare.report.figures import summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.plots.memory_bars import draw_memory
from peft_lightning.compare.report.reading import read_study
from tests.compare.report.records import LORA, comparison


def test_parts_are_told_and_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    recipes = {"on-gpu": LORA, "on-cpu": replace(LORA, gpu=None, cpu=1.0)}
    study = read_study(comparison(tmp_path, recipes, (1,), 40))
    rows = summarise(study, find(study))
    svg = draw_memory(rows)
    assert "on-gpu: weights 0.47 GiB, gradients 4.5 MiB, optimiser 9.0 MiB, activations 0.80 GiB;" in svg
    assert "on-cpu: weights 0.47 GiB, gradients 4.5 MiB, optimiser 9.0 MiB." in svg
    assert draw_memory([replace(row, weights_gib=None) for row in rows]) == ""
