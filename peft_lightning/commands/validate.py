"""validate: measure a checkpoint on the validation split.

validate --config RUN_DIR/config.yaml --ckpt_path best|last|FILE
"""

from peft_lightning.commands.evaluate import Evaluate
from peft_lightning.commands.lightning_cli import run_lightning


class Validate(Evaluate):
    """Measures a checkpoint on the validation split."""

    word = "validate"


def run(words: list[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``validate``.
    """
    run_lightning(Validate, words)
