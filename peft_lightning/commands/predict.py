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
from peft_lightning.runs.output_file import OutputFile
from peft_lightning.task import Task

BACKBONE_FILES = ("*config.json", "*.safetensors", "*.bin", "tokenizer*", "vocab*", "merges.txt")


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
        checkpoint = self.find_checkpoint()
        output = OutputFile(self.settings.options["output"], "output")
        output.check(self._inputs(checkpoint))
        task = task_in_checkpoint(read_checkpoint(checkpoint), checkpoint)
        self.set_up_data("predict")
        self.build_model(trainer, task)
        # Nothing but the predictions may be printed to standard output.
        with self.looping(trainer):
            batches = trainer.predict(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        lines = list(as_lines([batch for batch in batches or [] if isinstance(batch, Tensor)], task))
        output.write("".join(lines).encode())
        if self.settings.options["output"] is not None:
            print(f"{len(lines)} predictions written to {output}", file=sys.stderr)

    def _inputs(self, checkpoint: Path) -> list[Path]:
        """Returns the files that are read, and those that the run keeps."""
        read = [Path(str(self.data.predict_file)).expanduser(), *self.settings.files]
        backbone = Path(self.model.model_name_or_path)
        kept = [path for pattern in BACKBONE_FILES for path in backbone.glob(pattern)]
        run = checkpoint.parent.parent
        kept += [run / name for name in ("results.json", "config.yaml", "history.csv", "predictions.parquet")]
        return [*read, *kept, *checkpoint.parent.glob("*.ckpt")]


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
