"""test: measure a checkpoint on the test split.

test --config RUN_DIR/config.yaml --ckpt_path best|last|FILE
"""

from peft_lightning.commands.evaluate import Evaluate
from peft_lightning.commands.lightning_cli import run_lightning


class Test(Evaluate):
    """Measures a checkpoint on the test split."""

    __test__ = False  # not a test case, whatever its name tells pytest
    word = "test"


def run(words: list[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``test``.
    """
    run_lightning(Test, words)
