"""The page that everybody reads first: short, and its lines for the tasks are those whose figures are tested."""

import re
from pathlib import Path

from peft_lightning.commands.shorthands import expand
from peft_lightning.recipes import read_flags

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings(command: str) -> list[tuple[str, str | None]]:
    """The flags of a `fit`, whichever way and in whichever order they are written."""
    word, *words = command.replace("\\\n", " ").split()
    assert word == "fit"
    return sorted((name, value or "") for name, value in read_flags(expand(words)))


def test_it_is_a_page() -> None:
    assert len(README.split()) <= 1300


def test_the_line_for_a_task_is_the_command_of_its_page_with_its_figures() -> None:
    page = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    documented = [settings(command) for command in re.findall(r"`peft-lightning (fit --config [^`]+)`", page)]
    shared = re.search(r'^small\(\) \{ peft-lightning (fit .*?) "\$@"; \}$', README, re.MULTILINE | re.DOTALL)
    assert shared is not None
    lines = re.findall(r"^small (.*?) +# \S+ ([\d.]+)[^;\n]*; random weights: ([\d.]+)", README, re.MULTILINE)
    assert len(lines) == 3
    for more, *figures in lines:
        assert settings(f"{shared[1]} {more}") in documented
        assert [figure for figure in figures if figure not in page] == []
