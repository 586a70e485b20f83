"""predict: an answer to every review of a file.

predict --config RUN_DIR/config.yaml --ckpt_path best --data.predict_file FILE [--output FILE]
"""

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.callbacks.answer_collector import AnswerCollector
from peft_lightning.callbacks.prediction_progress import PredictionProgress
from peft_lightning.commands.command import Command
from peft_lightning.commands.ended_processes import ending_its_processes
from peft_lightning.commands.kept_answers import KeptAnswers, StreamedAnswers
from peft_lightning.commands.lightning_cli import run_lightning
from peft_lightning.data.prediction_batches import Share, Windows
from peft_lightning.data.sources import Texts
from peft_lightning.errors import UserError
from peft_lightning.library_messages import without_what_trained
from peft_lightning.module.trained import task_in_checkpoint
from peft_lightning.runs.answer_file import AnswerFile, sha256_of
from peft_lightning.runs.answer_formats import format_for
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.environment import software_versions
from peft_lightning.runs.given_paths import given_path
from peft_lightning.runs.output_file import OutputFile
from peft_lightning.task import Task

BACKBONE_FILES = ("*config.json", "*.safetensors", "*.bin", "tokenizer*", "vocab*", "merges.txt")
# Settings of the data that decide answers; which rows share a batch moves their last digits.
_TEXT_SETTINGS = (
    *("max_length", "truncation", "window_stride", "add_eos_token"),
    *("eval_batch_size", "pad_to_multiple_of"),
)


class Predict(Command):
    """Writes an answer to each review, in the order of the file, to ``--output`` or to the terminal.

    A name that ends in .csv, .tsv or .parquet makes such a table; any other gets one JSON line a review. Killed at any
    moment, the same command goes on.
    """

    word = "predict"

    @classmethod
    def add_options(cls, parser: LightningArgumentParser) -> None:
        """Adds the option for the file of predictions."""
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="File for the predictions, .jsonl, .csv, .tsv or .parquet; JSON lines on the terminal if not given.",
        )

    def run(self, trainer: Trainer) -> None:
        """Predicts and writes."""
        if self.data.predict_file is None:
            raise UserError("predict what? name a file of texts, one a line: --data.predict_file texts.txt")
        checkpoint = self.find_checkpoint()
        name = self.settings.options["output"]
        output = OutputFile(name, "output")
        if trainer.is_global_zero:
            output.check(self._inputs(checkpoint))
        task = task_in_checkpoint(read_checkpoint(checkpoint), checkpoint)
        format_for(name, task)
        self.set_up_data("predict")
        self.build_model(trainer, task)
        if trainer.is_global_zero:
            for sentence in task.calibration_in_words():
                print(f"calibrated: {sentence}", file=sys.stderr)
        windows = Windows.of(self._texts, self.data.eval_batch_size)
        if not trainer.is_global_zero:
            self._predict(trainer, checkpoint, windows, None)
        elif output.is_stream:
            with StreamedAnswers(output, format_for(name, task), windows) as answers:
                self._predict(trainer, checkpoint, windows, answers)
        else:
            made_with = self._made_with(trainer, checkpoint, task)
            file = AnswerFile(output.unfinished, made_with, windows.of_row)
            with KeptAnswers(file, windows) as answers:
                self._predict(trainer, checkpoint, windows, answers)
                output.write_parts(lambda: format_for(name, task).parts(file.windows()))
                answers.written()
        if trainer.is_global_zero and name is not None:
            print(f"{len(self._texts)} predictions written to {output}", file=sys.stderr)

    def set_up_data(self, stage: str) -> None:
        """Reads the texts, and so finds a bad row before anything is computed."""
        self._texts: Texts = self.data.texts_to_predict()

    def _predict(
        self, trainer: Trainer, checkpoint: Path, windows: Windows, answers: "KeptAnswers | StreamedAnswers | None"
    ) -> None:
        """Computes the answers that are lacking.

        Args:
            trainer: The Trainer.
            checkpoint: The weights.
            windows: The texts.
            answers: What takes the answers, in the first process.
        """
        progress = trainer.progress_bar_callback

        def keep(index: Any, values: Any) -> None:
            if answers is not None:
                answers.add(index, values)
            if isinstance(progress, PredictionProgress):
                progress.advance(len(index))

        def share() -> Share:
            # What is there already is known to the first process, which alone looks.
            done = trainer.strategy.broadcast(
                (answers.windows_done, answers.rows_done) if answers else (0, frozenset())
            )
            return Share(trainer.global_rank, trainer.world_size, *done)

        if isinstance(progress, PredictionProgress):
            progress.begin(len(windows.texts), answers.done if answers else 0)
        batches = self.data.prediction_batches(windows, _on_gpu(trainer), share)
        # Before the user's callbacks, so that what one of them fails in costs no answer.
        trainer.callbacks.insert(0, AnswerCollector(keep))  # type: ignore[attr-defined]
        with ending_its_processes(trainer), self.looping(trainer), without_what_trained():
            trainer.predict(
                self.model,
                dataloaders=batches,
                return_predictions=False,
                ckpt_path=checkpoint,
                weights_only=True,
            )
        if isinstance(progress, PredictionProgress):
            progress.end()

    def _made_with(self, trainer: Trainer, checkpoint: Path, task: Task) -> dict[str, Any]:
        """Returns all that answers depend on, beside the texts, in plain values."""
        config = self.settings.config
        return {
            "checkpoint": sha256_of(checkpoint),
            "backbone": self.model.backbone_identity,
            "task": task.state(),
            "model settings": config["model"],
            "data settings": {name: config["data"][name] for name in _TEXT_SETTINGS},
            "precision": str(trainer.precision),
            "device": trainer.strategy.root_device.type,
            "software": software_versions(),
        }

    def _inputs(self, checkpoint: Path) -> list[Path]:
        """Returns the files that are read, and those that the run keeps."""
        read = [given_path(str(self.data.predict_file)), *self.settings.files]
        backbone = given_path(self.model.model_name_or_path)
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


def _on_gpu(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type == torch.device("cuda").type
