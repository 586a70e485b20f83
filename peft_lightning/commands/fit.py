"""fit: train, measure, record, and test the best checkpoint at the end.

fit --method qlora                        one of the recipes below
fit --config configs/qlora.yaml           the same; a further --config states differences
fit --method qlora --ckpt_path last       go on where a killed run stopped
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse.typing import PositiveFloat
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.trainer.states import TrainerFn

from peft_lightning.callbacks.calibrator import Calibrator
from peft_lightning.callbacks.dashboard.callback import Dashboard
from peft_lightning.callbacks.engine_findings import EngineFindings
from peft_lightning.callbacks.epoch_timer import EpochTimer
from peft_lightning.callbacks.finite_loss import FiniteLoss
from peft_lightning.callbacks.gpu_memory import GPUMemory
from peft_lightning.callbacks.kept_settings import SECTION, KeptSettings
from peft_lightning.callbacks.log_rewind import LogRewind, rewind_nothing
from peft_lightning.callbacks.majority_class import MajorityClassWarning
from peft_lightning.callbacks.parameter_count import ParameterCount
from peft_lightning.callbacks.prediction_writer import Predictions
from peft_lightning.callbacks.progress_file import asked_for
from peft_lightning.callbacks.rng_state import RNGState
from peft_lightning.callbacks.run_recorder import RunRecorder
from peft_lightning.callbacks.trainer_state import TrainerState, as_a_start
from peft_lightning.callbacks.training_curve import TrainingCurve
from peft_lightning.callbacks.unchanged_settings import UnchangedSettings
from peft_lightning.callbacks.users_files import UsersFiles, drop_elsewhere
from peft_lightning.commands.calibrating import as_text as calibrated_as_text
from peft_lightning.commands.calibrating import check_calibration, keep_calibration
from peft_lightning.commands.calibration_options import calibration_settings
from peft_lightning.commands.command import Command
from peft_lightning.commands.given_classes import explained
from peft_lightning.commands.lightning_cli import run_lightning
from peft_lightning.commands.mends import in_words_of_a_run
from peft_lightning.commands.monitors import check_monitors
from peft_lightning.commands.processes import ending_its_processes
from peft_lightning.engine.memory_limit import limited_memory
from peft_lightning.engine.strategies import engine_of
from peft_lightning.errors import Setting, UserError
from peft_lightning.optim.steps import planned_steps
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint, settle
from peft_lightning.runs.continuation import changed_settings, refusal_to_go_on, settings_of, unlike_the_newest
from peft_lightning.runs.directory import RunDirectory, check_can_be_made, find_newest, find_unfinished
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.history import History
from peft_lightning.runs.hyperparameters import hyperparameters
from peft_lightning.runs.record import RunRecord
from peft_lightning.runs.row import as_text, chosen_by
from peft_lightning.runs.tensorboard import RunTensorBoard
from peft_lightning.stop_signals import exit_code_after, reader_may_be_gone

# The environment variable with the run's directory. Lightning starts the processes of further GPUs with this process's
# environment, so they join its run.
SHARED_RUN = "PEFT_LIGHTNING_RUN_DIR"


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
        parser.add_argument(
            "--recipe",
            # With `str | None` a recipe called null, or ~, would be none.
            type=str,
            default=None,
            help="What the record calls the recipe; the first file's name if not given.",
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Test the best checkpoint when training ends.",
        )
        parser.add_argument(
            "--rehearsal",
            type=bool,
            default=False,
            help="Take the steps for the first ones of a longer run, as a comparison's forecast does: a method whose"
            " own schedule needs more steps is not refused.",
        )
        parser.add_argument(
            "--live",
            type=bool,
            nargs="?",
            const=True,
            default=False,
            help="Draw loss and metrics while training: dashboard.png in the run directory, a window where there is"
            " a display, inline in a notebook. Drawing counts as training time, a twentieth of it at most.",
        )
        parser.add_argument(
            "--live_interval_s",
            type=PositiveFloat,
            default=5.0,
            help="Seconds between two pictures of --live, at least.",
        )

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.recorder.record

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
        self.recorder = RunRecorder(self.directory, record, hyperparameters(settings.config), self._describe)
        self.predictions = Predictions()
        self.calibrator = Calibrator(calibration_settings(settings.config))
        self.rewind = LogRewind(self.directory)
        self.users_files = UsersFiles(self.directory)
        # Last, so that the record is written before the last picture is drawn.
        live = [Dashboard(self.directory, settings.options["live_interval_s"])] if settings.options["live"] else []
        return [
            RNGState(),
            TrainerState(),
            KeptSettings(settings_of(settings.config)),
            EngineFindings(limited=settings.config["memory_limit_gib"] is not None),
            FiniteLoss(),
            EpochTimer(),
            GPUMemory(),
            ParameterCount(),
            TrainingCurve(),
            UnchangedSettings(),
            MajorityClassWarning(self.model.method.name, record.recipe, self.model.model_name_or_path),
            self.predictions,
            self.calibrator,
            self.rewind,
            self.users_files,
            self.recorder,
            *asked_for(),
            *live,
        ]

    def _describe(self, error: BaseException) -> str:
        return in_words_of_a_run(explained(error, self.model.trainer))

    def loggers(self) -> list[Logger]:
        """Returns TensorBoard, unless the user turned logging off, and the history."""
        history = History(self.directory)
        if self.settings.config["trainer"]["logger"] is not False:
            return [RunTensorBoard(self.directory), history]
        return [history]

    def run(self, trainer: Trainer) -> None:
        """Trains and tests; mistakes of the user are found before a directory is made."""
        self.model.rehearses = self.settings.options["rehearsal"]
        resumed = self._find_unfinished() if self.settings.ckpt_path == "last" else None
        check_can_be_made(resumed or self.runs)
        with limited_memory(trainer.strategy.root_device, self.settings.config["memory_limit_gib"]):
            self._run(trainer, resumed)

    def _run(self, trainer: Trainer, resumed: Path | None) -> None:
        started_from = None if self.settings.ckpt_path in (None, "last") else self._read_started_from()
        self.set_up_data("fit")
        if started_from is not None:
            self._check_goes_on(started_from)
            self._check_is_longer(started_from, trainer)
        self._check_validation_interval(trainer)
        self.require_rows(trainer)
        check_monitors(trainer, self.data.task, self.data.val.labels)
        check_calibration(trainer, self.calibrator.asked, self.data.task, self.data.val.labels)
        self.build_model(trainer, self.data.task)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            try:
                with self.looping(trainer):
                    trainer.fit(self.model, datamodule=self.data)
            except torch.OutOfMemoryError as error:
                raise UserError(_out_of_memory(trainer)) from error
            return
        if started_from is not None:
            self.model.on_load_checkpoint(started_from)
        self.users_files.check(trainer)
        try:
            checkpoint = self._enter(trainer, resumed, started_from)
            with ending_its_processes(trainer):
                self._train(trainer, checkpoint)
                # The first steps of a longer run are no model to calibrate.
                if self.calibrator.asked and not self.model.rehearses:
                    self._calibrate(trainer)
                if self.settings.options["test_after_fit"]:
                    self._test(trainer)
            self.recorder.finish(trainer)
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

    def _enter(self, trainer: Trainer, resumed: Path | None, started_from: dict[str, Any] | None) -> Path | None:
        """Makes or opens the run's directory, and returns the checkpoint to go on from."""
        if not trainer.is_global_zero:
            self.directory.join(Path(os.environ[SHARED_RUN]))
            self.place_trackers(trainer, self.directory.path)
        elif resumed is not None:
            self._reopen(trainer, resumed)
        else:
            self.directory.create()
            config = yaml.safe_dump(self.settings.config, sort_keys=False, allow_unicode=True)
            write_atomically(self.directory.config, config.encode())
            if started_from is not None:
                # So the run can be resumed from its start, even if the other run's file is deleted.
                AtomicCheckpointIO().save_checkpoint(self._as_a_start(started_from, trainer), self.directory.last)
            self.record.write(self.directory.results)
            self.place_trackers(trainer, self.directory.path)
            self.users_files.begin(trainer)
        os.environ[SHARED_RUN] = str(self.directory.path)
        self.checkpoints.write_to(self.directory)
        self.predictions.write_to(self.directory.path / "predictions.parquet")
        return self.directory.last if self.directory.last.exists() else None

    def _check_validation_interval(self, trainer: Trainer) -> None:
        """Refuses an interval longer than an epoch; Lightning does so only after the directory is made."""
        interval, batches = trainer.val_check_interval, self.data.batches_per_epoch()
        if isinstance(interval, int) and trainer.check_val_every_n_epoch is not None and interval > batches:
            raise UserError(f"trainer.val_check_interval is {interval} batches: an epoch has {batches}")

    def _read_started_from(self) -> dict[str, Any]:
        """Reads another run's checkpoint to start from; refuses one that training cannot go on from."""
        path = Path(str(self.settings.ckpt_path))
        if self.settings.ckpt_path == "best":
            raise UserError("fit goes on from --ckpt_path last or a file; `best` is for test, validate and predict")
        checkpoint = read_checkpoint(path)
        if "optimizer_states" not in checkpoint:
            raise UserError(f"{path} holds weights only, nothing to go on training with: use last.ckpt")
        return checkpoint

    def _find_unfinished(self) -> Path:
        try:
            return find_unfinished(self.runs, self.settings.sha256)
        except UserError as error:
            for runs in self.former_runs:
                with suppress(UserError):
                    return find_unfinished(runs, self.settings.sha256)
            if find_newest(self.runs, self.settings.sha256) is not None:  # it has finished
                raise
            raise UserError(*error.args, *unlike_the_newest(self.runs, self.settings.config)) from error

    def _check_goes_on(self, checkpoint: dict[str, Any]) -> None:
        """Refuses settings and data that are not those of another run's checkpoint: its state would override them."""
        kept = checkpoint.get(SECTION)
        if kept is None:  # an older checkpoint
            return
        same_texts = kept["fingerprint"] == self.data.description()["fingerprint"]
        changed = changed_settings(kept["settings"], settings_of(self.settings.config), same_texts)
        refusal = refusal_to_go_on(self.settings.ckpt_path, changed, same_texts)
        if refusal is not None:
            raise refusal

    def _check_is_longer(self, checkpoint: dict[str, Any], trainer: Trainer) -> None:
        """Refuses a checkpoint of a step that the run would not reach: its record would state too few epochs."""
        if trainer.max_steps == -1 and trainer.max_epochs in (None, -1):  # nothing ends it
            return
        step, end = checkpoint["global_step"], planned_steps(trainer, self.data.batches_per_epoch())
        if step > end:
            raise UserError(
                f"{self.settings.ckpt_path} is of step {step:,}, and this run ends with step {end:,}: raise ",
                Setting("trainer.max_epochs"),
                " or ",
                Setting("trainer.max_steps"),
            )

    def _as_a_start(self, checkpoint: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
        """Makes another run's checkpoint the first of this run, with a note on what ran until there."""
        as_a_start(checkpoint)
        rewind_nothing(checkpoint)
        drop_elsewhere(checkpoint)
        note = f"training goes on from step {checkpoint['global_step']} of {self.settings.ckpt_path}"
        before = checkpoint["peft_lightning"].get("planned_steps")
        now = planned_steps(trainer, self.data.batches_per_epoch())
        if before not in (None, now):
            note += (
                f": until there the learning rate followed a schedule of {before:,} steps, from there one of {now:,}"
            )
        self.recorder.add_origin(checkpoint, note)
        return checkpoint

    def _reopen(self, trainer: Trainer, path: Path) -> None:
        self.directory.open(path)
        earlier = RunRecord.read(self.directory.results)
        dataset = self.data.description()
        if earlier.dataset is not None and earlier.dataset.fingerprint != dataset["fingerprint"]:
            self.directory.release()
            raise UserError(f"the data of {path} has changed since it started: leave --ckpt_path out to train anew")
        self.record.run_id, self.record.recipe = earlier.run_id, earlier.recipe
        self.rewind.collect_leftovers()
        if not self.directory.last.exists():
            self.rewind.rewind({})
            checkpoint: dict[str, Any] = {}
            print(f"resuming {path}: it was stopped before its first checkpoint, so from the start")
        else:
            checkpoint = read_checkpoint(self.directory.last)
            print(f"resuming {path} at step {checkpoint['global_step']}")
        self.place_trackers(trainer, path)
        for note in self.users_files.take_up(trainer, checkpoint):
            self.recorder.add_note(note)

    def _train(self, trainer: Trainer, checkpoint: Path | None) -> None:
        engine_of(trainer).expect_test(self.settings.options["test_after_fit"] or bool(self.calibrator.asked))
        with self._one_line_endings(trainer):
            trainer.fit(self.model, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)

    @property
    def _tested(self) -> Path | None:
        """The best checkpoint; None without a validation: the weights are then tested as training left them."""
        return self.directory.best if self.checkpoints.best_step is not None else None

    def _calibrate(self, trainer: Trainer) -> None:
        """Validates the weights that are tested once more, fits on their answers, and keeps the result with them."""
        engine_of(trainer).expect_test(self.settings.options["test_after_fit"])
        # The run's curves have this validation already; callbacks may still look for a logger.
        loggers, trainer.loggers = trainer.loggers, [DummyLogger()]
        try:
            with self._one_line_endings(trainer):
                trainer.validate(
                    self.model, datamodule=self.data, ckpt_path=self._tested, weights_only=True, verbose=False
                )
        finally:
            trainer.loggers = loggers
        for note in self.calibrator.notes:
            self.recorder.add_note(note)
            if trainer.is_global_zero:
                print(f"note: {note}", flush=True)
        if trainer.is_global_zero and self.calibrator.calibration is not None:
            settle(trainer.strategy.checkpoint_io)
            keep_calibration(self._tested or self.directory.last, self.calibrator.calibration)

    def _test(self, trainer: Trainer) -> None:
        path = self._tested
        engine_of(trainer).expect_test(False)
        with self._one_line_endings(trainer):
            trainer.test(self.model, datamodule=self.data, ckpt_path=path, weights_only=True, verbose=False)

    @contextmanager
    def _one_line_endings(self, trainer: Trainer) -> Iterator[None]:
        """Turns a full GPU into one line that says how to go on, and a stop into what it was."""
        try:
            with self.looping(trainer):
                yield
        except torch.OutOfMemoryError as error:
            raise UserError(_out_of_memory(trainer)) from error

    def _end_interrupted(self, trainer: Trainer, stop: KeyboardInterrupt) -> NoReturn:
        """Records that the run was interrupted, says how to go on, and exits with the signal's code."""
        if self.directory.has_record and trainer.is_global_zero:
            self.recorder.stop(trainer, stop)
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


def _out_of_memory(trainer: Trainer) -> str:
    """Words where the GPU ran out of memory, and how to use less."""
    engine = engine_of(trainer)
    if trainer.state.fn == TrainerFn.TESTING or engine.is_evaluating:
        return "the GPU ran out of memory while it evaluated: lower --data.eval_batch_size"
    least = ", with one example at a time" if engine.micro_batch_size == 1 else ""
    return (
        f"the GPU ran out of memory at step {trainer.global_step}{least}:"
        " add --config configs/lean.yaml, or lower --data.max_length"
    )
