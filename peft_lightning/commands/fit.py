"""fit: train, measure, record, and test the best checkpoint at the end.

fit --method qlora                        one of the recipes below
fit --config configs/qlora.yaml           the same; a further --config states differences
fit --method qlora --ckpt_path last       go on where a killed run stopped
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from peft_lightning.commands.calibrating import as_text as calibrated_as_text
from peft_lightning.commands.calibrating import calibrate, check_calibration
from peft_lightning.commands.command import Command
from peft_lightning.commands.ended_processes import ending_its_processes, explained_by_another, is_of_another
from peft_lightning.commands.fit_callbacks import FitCallbacks
from peft_lightning.commands.fit_options import add_fit_options
from peft_lightning.commands.given_classes import explained
from peft_lightning.commands.going_on import OtherRunsCheckpoint, unfinished_run
from peft_lightning.commands.lightning_cli import run_lightning
from peft_lightning.commands.mends import going_on, in_words_of_a_run
from peft_lightning.commands.monitors import check_monitors
from peft_lightning.commands.out_of_memory import wording_out_of_memory
from peft_lightning.commands.processes import refuse_other_data, share_run, shared_run
from peft_lightning.commands.trainer_settings import refuse_long_interval
from peft_lightning.engine.memory_limit import limited_memory
from peft_lightning.engine.strategies import engine_of
from peft_lightning.errors import UserError
from peft_lightning.gone_reader import reader_may_be_gone
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint, settle
from peft_lightning.runs.directory import RunDirectory, check_can_be_made
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.history import History
from peft_lightning.runs.record import RunRecord
from peft_lightning.runs.row import as_text, chosen_by
from peft_lightning.runs.tensorboard import RunTensorBoard
from peft_lightning.stop_signals import exit_code_after


class Fit(Command):
    """Trains in a directory of its own, or goes on in the directory of an unfinished run."""

    word = "fit"
    ckpt_path_help = (
        "Go on training from a checkpoint: last, this configuration's unfinished run, in its own directory; or the"
        " last.ckpt of another run, in a new one."
    )

    @classmethod
    def add_options(cls, parser: LightningArgumentParser) -> None:
        """Adds options for the recipe's name, the test after training and the live dashboard."""
        add_fit_options(parser)

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.watching.recorder.record

    def callbacks(self) -> list[Callback]:
        """Returns the callbacks of a training run."""
        settings = self.settings
        self.directory = RunDirectory(settings.root, self.model.method.name)
        record = RunRecord(
            run_id=uuid.uuid4().hex,
            recipe=settings.recipe,
            config_sha256=settings.sha256,
            method=self.model.method.name,
            seed=torch.initial_seed(),
            data_seed=self.data.seed,
        )
        self.watching = FitCallbacks(settings, self.directory, record, self.model, self._describe)
        return self.watching.every

    def _describe(self, error: BaseException) -> str:
        better = explained(error, self._trainer)
        if isinstance(better, Exception) and is_of_another(better):
            better = explained_by_another(better, self._trainer, self._then)
        return in_words_of_a_run(better)

    def loggers(self) -> list[Logger]:
        """Returns TensorBoard, unless the user turned logging off, and the history."""
        history = History(self.directory)
        if self.settings.config["trainer"]["logger"] is not False:
            return [RunTensorBoard(self.directory), history]
        return [history]

    def run(self, trainer: Trainer) -> None:
        """Trains and tests; mistakes of the user are found before a directory is made."""
        self._trainer, self._then = trainer, ("go on with ", going_on())
        self.model.rehearses = self.settings.options["rehearsal"]
        resumed = None
        if self.settings.ckpt_path == "last" and trainer.is_global_zero:
            resumed = unfinished_run(self.runs, self.former_runs, self.settings.config)
        check_can_be_made(resumed or self.runs)
        with limited_memory(trainer.strategy.root_device, self.settings.config["memory_limit_gib"]):
            self._run(trainer, resumed)

    def _run(self, trainer: Trainer, resumed: Path | None) -> None:
        ckpt_path = self.settings.ckpt_path
        started_from = None if ckpt_path is None or ckpt_path == "last" else OtherRunsCheckpoint(ckpt_path)
        self.set_up_data("fit")
        # Lightning tells the data its Trainer, and so how many processes share an epoch, only when training begins.
        self.data.trainer = trainer
        if started_from is not None:
            started_from.check(self.settings.config, self.data, trainer)
        refuse_long_interval(trainer, self.data.batches_per_epoch())
        self.require_rows(trainer)
        check_monitors(trainer, self.data.task, self.data.val.labels)
        check_calibration(trainer, self.watching.calibrator.asked, self.data.task, self.data.val.labels)
        self.build_model(trainer, self.data.task)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            with ending_its_processes(trainer), self._one_line_endings(trainer):
                trainer.fit(self.model, datamodule=self.data)
            return
        if started_from is not None:
            self.model.on_load_checkpoint(started_from.content)
        self.watching.users_files.check(trainer)
        try:
            checkpoint = self._enter(trainer, resumed, started_from)
            with ending_its_processes(trainer, self._then):
                self._train(trainer, checkpoint)
                # The first steps of a longer run are no model to calibrate.
                if self.watching.calibrator.asked and not self.model.rehearses:
                    self._calibrate(trainer)
                if self.settings.options["test_after_fit"]:
                    self._test(trainer)
            self.watching.recorder.finish(trainer)
        except KeyboardInterrupt as stop:
            self._end_interrupted(trainer, stop)
        finally:
            # If the Trainer fails at its end, checkpoints may still be in writing; another process could resume here.
            settle(trainer.strategy.checkpoint_io)
            self.directory.release()
        if trainer.is_global_zero:
            beside = chosen_by(self.record, self.checkpoints.monitor)
            row = "\n\n".join([as_text(self.record) + beside, *calibrated_as_text(self.record)])
            print(f"\n{row}\n\nrun directory: {self.directory.path}")

    def _enter(self, trainer: Trainer, resumed: Path | None, started_from: OtherRunsCheckpoint | None) -> Path | None:
        """Makes or opens the run's directory, and returns the checkpoint to go on from."""
        if not trainer.is_global_zero:
            self.directory.join(shared_run(trainer))
            self.place_trackers(trainer, self.directory.path)
        elif resumed is not None:
            self._reopen(trainer, resumed)
            share_run(trainer, self.directory.path)
        else:
            self.directory.create()
            config = yaml.safe_dump(self.settings.config, sort_keys=False, allow_unicode=True)
            write_atomically(self.directory.config, config.encode())
            if started_from is not None:
                first, note = started_from.as_first(trainer, self.data)
                self.watching.recorder.add_origin(first, note)
                # So the run can be resumed from its start, even if the other run's file is deleted.
                AtomicCheckpointIO().save_checkpoint(first, self.directory.last)
            self.record.write(self.directory.results)
            self.place_trackers(trainer, self.directory.path)
            self.watching.users_files.begin(trainer)
            share_run(trainer, self.directory.path)
        refuse_other_data(trainer, self.data.description()["fingerprint"])
        self.checkpoints.write_to(self.directory)
        self.watching.predictions.write_to(self.directory.path / "predictions.parquet")
        return self.directory.last if self.directory.last.exists() else None

    def _reopen(self, trainer: Trainer, path: Path) -> None:
        self.directory.open(path)
        earlier = RunRecord.read(self.directory.results)
        dataset = self.data.description()
        if earlier.dataset is not None and earlier.dataset.fingerprint != dataset["fingerprint"]:
            self.directory.release()
            raise UserError(f"the data of {path} has changed since it started: leave --ckpt_path out to train anew")
        self.record.run_id, self.record.recipe = earlier.run_id, earlier.recipe
        # That of its config.yaml, which may spell the same processes otherwise.
        self.record.config_sha256 = earlier.config_sha256
        self.watching.rewind.collect_leftovers()
        if not self.directory.last.exists():
            self.watching.rewind.rewind({})
            checkpoint: dict[str, Any] = {}
            print(f"resuming {path}: it was stopped before its first checkpoint, so from the start")
        else:
            checkpoint = read_checkpoint(self.directory.last)
            print(f"resuming {path} at step {checkpoint['global_step']}")
        self.place_trackers(trainer, path)
        for note in self.watching.users_files.take_up(trainer, checkpoint):
            self.watching.recorder.add_note(note)

    def _train(self, trainer: Trainer, checkpoint: Path | None) -> None:
        engine_of(trainer).expect_test(self.settings.options["test_after_fit"] or bool(self.watching.calibrator.asked))
        with self._one_line_endings(trainer):
            trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)

    @property
    def _tested(self) -> Path | None:
        """The best checkpoint; None without a validation: the weights are then tested as training left them."""
        return self.directory.best if self.checkpoints.best_step is not None else None

    def _calibrate(self, trainer: Trainer) -> None:
        """Fits on the answers that the weights that are tested give to the validation rows."""
        engine_of(trainer).expect_test(self.settings.options["test_after_fit"])

        def validate() -> None:
            with self._one_line_endings(trainer):
                trainer.validate(
                    self.model, datamodule=self.data, ckpt_path=self._tested, weights_only=True, verbose=False
                )

        checkpoint = self._tested or self.directory.last
        calibrate(trainer, self.watching.calibrator, self.watching.recorder, checkpoint, validate)

    def _test(self, trainer: Trainer) -> None:
        path = self._tested
        engine_of(trainer).expect_test(False)
        with self._one_line_endings(trainer):
            trainer.test(self.model, datamodule=self.data, ckpt_path=path, weights_only=True, verbose=False)

    @contextmanager
    def _one_line_endings(self, trainer: Trainer) -> Iterator[None]:
        """Turns a full GPU into one line that says how to go on, and a stop into what it was."""
        with wording_out_of_memory(trainer), self.looping(trainer):
            yield

    def _end_interrupted(self, trainer: Trainer, stop: KeyboardInterrupt) -> NoReturn:
        """Records that the run was interrupted, says how to go on, and exits with the signal's code."""
        if self.directory.has_record and trainer.is_global_zero:
            self.watching.recorder.stop(trainer, stop)
            finished = self.record.status == "finished"
            how = f"go on in {self.directory.path} with the same command and --ckpt_path last"
            with reader_may_be_gone():
                print(
                    f"stopped, but finished: {self.directory.path}" if finished else f"interrupted: {how}", flush=True
                )
        raise SystemExit(exit_code_after(stop)) from stop


def run(words: list[str]) -> None:
    """Runs the command.

    Args:
        words: The words after ``fit``.
    """
    run_lightning(Fit, words)
