"""The base class of ``test`` and ``validate``: measures a checkpoint without changing the run's record."""

import json
from pathlib import Path

from lightning.pytorch import Callback, Trainer

from peft_lightning.callbacks.calibrator import Calibrator
from peft_lightning.callbacks.limits import limit_notes
from peft_lightning.callbacks.prediction_writer import Predictions
from peft_lightning.commands.command import Command
from peft_lightning.commands.ended_processes import ending_its_processes
from peft_lightning.commands.processes import refuse_other_data
from peft_lightning.library_messages import without_what_trained
from peft_lightning.module.trained import calibration_in
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.directory import check_can_be_made
from peft_lightning.runs.files import CannotWrite, write_atomically
from peft_lightning.task import Task, recorded
from peft_lightning.task.calibration import CalibrationSettings
from peft_lightning.task.metric import DASH, LOSS

# How the note begins that says how a limit has cut what a command measures.
_LIMIT = {"validate": "trainer.limit_val_batches", "test": "trainer.limit_test_batches"}
# Of a figure that is printed.
_DECIMALS = 4


class Evaluate(Command):
    """Measures a checkpoint on one split, into a folder of its own: ``RUN_DIR/test_N`` or ``RUN_DIR/validate_N``."""

    def callbacks(self) -> list[Callback]:
        """Returns the writer of predictions, and what measures with a calibration too."""
        self.predictions = Predictions()
        self.calibrator = Calibrator(CalibrationSettings())
        return [self.predictions, self.calibrator]

    def run(self, trainer: Trainer) -> None:
        """Measures, prints and writes the metrics."""
        checkpoint = self.find_checkpoint()
        check_can_be_made(self._parent(checkpoint))
        self.set_up_data(self.word)
        self.build_model(trainer, self.data.task)
        # A checkpoint that does not fit is refused before a folder is made for its figures.
        content = read_checkpoint(checkpoint)
        self.model.on_load_checkpoint(content)
        self.calibrator.use(calibration_in(content))
        self.require_rows(trainer)
        refuse_other_data(trainer, self.data.description()["fingerprint"])
        # Further processes answer their share of the rows; this one writes.
        folder = self._make_folder(checkpoint) if trainer.is_global_zero else None
        if folder is not None:
            self.predictions.write_to(folder / "predictions.parquet")
            self.place_trackers(trainer, folder)
        entry = getattr(trainer, self.word)
        with ending_its_processes(trainer), self.looping(trainer), without_what_trained():
            entry(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True, verbose=False)
        # The Trainer's return value omits metrics that are logged without a logger, which here are all.
        metrics = {name: recorded(float(value)) for name, value in trainer.callback_metrics.items()}
        result = {"checkpoint": str(checkpoint), "metrics": metrics, "dataset": self.data.description()}
        if calibrated := self.calibrator.figures().get("after"):
            result["calibrated"] = calibrated
        if notes := [note for note in limit_notes(trainer) if note.startswith(_LIMIT[self.word])]:
            result["notes"] = notes
        if folder is not None:
            write_atomically(folder / "metrics.json", (json.dumps(result, indent=2) + "\n").encode())
            task = self.data.task
            shown = {metric.key for metric in (LOSS, *task.shown())}
            if self.checkpoints.monitor is not None:
                shown.add(self.checkpoints.monitor.partition("/")[2])
            for what, found in (("", metrics), ("calibrated: ", calibrated or {})):
                some = {name: value for name, value in found.items() if name.partition("/")[2] in shown}
                if some:
                    print(what + "  ".join(f"{name} {_figure(task, name, value)}" for name, value in some.items()))
            print(f"written to {folder}")

    def _parent(self, checkpoint: Path) -> Path:
        run = checkpoint.resolve().parent.parent
        return run if (run / "results.json").is_file() else self.runs

    def _make_folder(self, checkpoint: Path) -> Path:
        parent = self._parent(checkpoint)
        number = 0
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                folder = parent / f"{self.word}_{number}"
                try:
                    folder.mkdir()
                except FileExistsError:
                    number += 1
                else:
                    return folder
        except OSError as error:
            raise CannotWrite.because(error, parent) from error


def _figure(task: Task, name: str, value: float | None) -> str:
    """Formats a figure by its name, such as ``test/mae``, to four decimals."""
    if value is None:
        return DASH
    metric = next((one for one in (LOSS, *task.measured()) if one.key == name.partition("/")[2]), None)
    # Those of single classes are shares.
    return f"{value:.{_DECIMALS}f}" if metric is None else metric.plain(value, _DECIMALS)
