"""The subject that CONTRIBUTING.md asks for, as the hook of .pre-commit-config.yaml reads it."""

import re
from pathlib import Path

import pytest
import yaml

CONFIG = Path(__file__).resolve().parents[1] / ".pre-commit-config.yaml"


def is_refused(message: str) -> bool:
    (repository,) = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repos"]
    (hook,) = [hook for hook in repository["hooks"] if hook["id"] == "subject"]
    # As pygrep searches with --multiline.
    return re.search(hook["entry"], message, re.MULTILINE | re.DOTALL) is not None


@pytest.mark.parametrize(
    "message",
    [
        "Round weights that 8-bit AdamW trains in bf16 stochastically\n",
        "Say what peft.LoraConfig takes\n\nBecause it was said nowhere. Twice.\n# a comment of git's\n",
        f"Keep {'a' * 67}\n",
        "Embed the reviews\n# Please enter the commit message\n",
        f"Merge branch '{'a' * 80}'\n",
        f'Revert "{"A" * 72}"\n',
    ],
)
def test_an_imperative_in_one_short_line_is_a_subject(message: str) -> None:
    assert not is_refused(message)


@pytest.mark.parametrize(
    "message",
    [
        f"Keep {'a' * 68}\n",
        "Keep the rule.\n",
        "Keep the rule\nand the body beside it\n",
        "keep the rule\n",
        "Report: keep the rule\n",
        "The rule is kept\n",
        "Kept\n",
        "Added a rule\n",
        "Adding a rule\n",
        "Tests of the rule\n",
    ],
)
def test_any_other_is_refused(message: str) -> None:
    assert is_refused(message)
