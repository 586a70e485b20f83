import io
from pathlib import Path

import pytest
from rich.console import Console

from peft_lightning.compare.report.figures import summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.terminal import print_report
from peft_lightning.task import FIRST
from tests.compare.report.records import comparison


@pytest.mark.parametrize(
    ("width", "shown", "dropped"),
    [
        (90, ("reserved", "checkpoint"), "samples/s, F1"),
        (100, ("reserved", "checkpoint", "AUROC"), "samples/s"),
        (80, ("reserved", "95 % interval"), "samples/s, F1, checkpoint"),
    ],
)
def test_the_table_fits_and_says_what_it_leaves_out(
    width: int, shown: tuple[str, ...], dropped: str, tmp_path: Path
) -> None:
    comparison(tmp_path, reviews=60)
    study = read_study(tmp_path)
    console = Console(file=io.StringIO(), width=width)
    print_report(console, summarise(study, find(study)), (), (), FIRST.shown())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "124,647,170 (100 %)" in text
    assert all(word in text for word in shown)
    assert f"Too narrow for {dropped}: they are in table.md" in " ".join(text.split())


def test_a_terminal_of_120_columns_leaves_nothing_out(tmp_path: Path) -> None:
    comparison(tmp_path, reviews=60)
    study = read_study(tmp_path)
    console = Console(file=io.StringIO(), width=120)
    print_report(console, summarise(study, find(study)), (), (), FIRST.shown())
    assert isinstance(console.file, io.StringIO)
    assert "samples/s" in console.file.getvalue()
    assert "Too narrow" not in console.file.getvalue()


def test_a_name_in_brackets_is_no_style(tmp_path: Path) -> None:
    from tests.compare.report.records import LORA

    comparison(tmp_path, {"[red]lora": LORA}, (1,), 60)
    study = read_study(tmp_path)
    console = Console(file=io.StringIO(), width=100)
    print_report(console, summarise(study, find(study)), (), ("[bold]as it is",), FIRST.shown())
    assert isinstance(console.file, io.StringIO)
    assert "[red]lora" in console.file.getvalue()
    assert "[bold]as it is" in console.file.getvalue()
