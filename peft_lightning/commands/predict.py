"""predict: an answer to every review of a file.

predict --config RUN_DIR/config.yaml --ckpt_path best --data.predict_file FILE [--output FILE]
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor

from peft_lightning.commands.command import Command
from peft_lightning.commands.lightning_cli import run_lightning
from peft_lightning.errors import UserError
from peft_lightning.module.trained import task_in_checkpoint
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.files import write_atomically
from peft_lightning.task import Task


class Predict(Command):
    """Writes one JSON line a review, in the order of the file, to ``--output`` or to the terminal."""

    word = "predict"

    @classmethod
    def add_options(cls, parser: LightningArgumentParser) -> None:
        """Adds the option for the file of predictions."""
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="File for the predictions; the terminal if not given.",
        )

    def run(self, trainer: Trainer) -> None:
        """Predicts and writes."""
        if self.data.predict_file is None:
            raise UserError("predict what? name a file of reviews, one a line: --data.predict_file reviews.txt")
        output = self.settings.options["output"]
        if output is not None and not Path(output).absolute().parent.is_dir():
            raise UserError(
                f"--output {output}: there is no folder {Path(output).parent}: make it or name another file"
            )
        checkpoint = self.find_checkpoint()
        task = task_in_checkpoint(read_checkpoint(checkpoint), checkpoint)
        self.set_up_data("predict")
        self.build_model(trainer, task)
        # Nothing but the predictions may be printed to standard output.
        batches = trainer.predict(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        lines = list(as_lines([batch for batch in batches or [] if isinstance(batch, Tensor)], task))
        if output is None:
            sys.stdout.writelines(lines)
        else:
            write_atomically(Path(output), "".join(lines).encode())
            print(f"{len(lines)} predictions written to {output}", file=sys.stderr)


def run(words: list[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``predict``.
    """
    run_lightning(Predict, words)


def as_lines(batches: list[Tensor], task: Task) -> Iterator[str]:
    """Formats answers as JSON lines.

    Args:
        batches: Answers, each of shape (batch, …).
        task: The task of the answers.

    Yields:
        One line per review, such as ``{"label": ..., "probabilities": {...}}``.
    """
    for batch in batches:
        for answer in batch.tolist():
            yield json.dumps(task.line(answer), ensure_ascii=False) + "\n"
