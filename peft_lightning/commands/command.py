"""The base class of the commands that run a Trainer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.commands.command_settings import Settings
from peft_lightning.commands.given_classes import explained
from peft_lightning.commands.sharded_settings import refuse_model
from peft_lightning.commands.skipped_layers import refuse_skipped_layers
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.engine.sharding import building_device
from peft_lightning.errors import UserError
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.directory import RunDirectory, checkpoint_of
from peft_lightning.runs.run_search import find_newest
from peft_lightning.runs.trackers import Tracker
from peft_lightning.stop_signals import received
from peft_lightning.task import Task


class Command(ABC):
    """A subcommand of LightningCLI: what the program does before, with and after the Trainer.

    Args:
        settings: The command's settings.
        model: The module; its model is not built yet.
        data: The data module, not set up yet.
        checkpoints: The callback that writes checkpoints.
    """

    word: ClassVar[str]
    """The subcommand's name in LightningCLI."""
    ckpt_path_help: ClassVar[str] = (
        "Which weights: best or last of the newest run of this configuration (of the run itself where --config is its"
        " config.yaml), or a checkpoint file."
    )

    @classmethod  # noqa: B027 a command may have none
    def add_options(cls, parser: LightningArgumentParser) -> None:
        """Adds the command's own flags, which are not part of the run's configuration.

        Args:
            parser: The command's parser, with Lightning's options.
        """

    def __init__(
        self, settings: Settings, model: TextClassifier, data: TextDataModule, checkpoints: RunCheckpoints
    ) -> None:
        self.settings = settings
        self.model = model
        self.data = data
        self.checkpoints = checkpoints
        self.runs = RunDirectory(settings.root, model.method.name).runs
        # Runs of a variant were in the folder of what it varies.
        self.former_runs = [RunDirectory(settings.root, name).runs for name in sorted(model.method.former_names)]
        self.trackers: list[Tracker] = []

    def callbacks(self) -> list[Callback]:
        """Returns the callbacks that this command adds to the user's."""
        return []

    def loggers(self) -> list[Logger]:
        """Returns the loggers that this command adds to the user's."""
        return []

    @abstractmethod
    def run(self, trainer: Trainer) -> None:
        """Runs the command.

        Args:
            trainer: The Trainer, with this command's callbacks and loggers.

        Raises:
            UserError: If the user can put right what went wrong.
        """

    @contextmanager
    def looping(self, trainer: Trainer) -> Iterator[None]:
        """Words what the Trainer's loops raise: a stop, which Lightning makes a ``SystemExit``, and users' classes.

        Args:
            trainer: The Trainer.

        Raises:
            KeyboardInterrupt: If Ctrl-C or a signal has ended the loops; what failed because of it does not count.
            UserError: If a class that the settings name has failed.
        """
        try:
            yield
        except BaseException as error:
            if (stop := received()) is not None:
                raise stop from error
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            if (better := explained(error, trainer)) is not error:
                raise better from error
            raise

    def place_trackers(self, trainer: Trainer, folder: Path) -> None:
        """Makes the user's loggers write into a folder, unless the settings name another place.

        Args:
            trainer: The Trainer.
            folder: The run's directory, or that of an evaluation.
        """
        placed = {id(tracker.logger): tracker.at(folder) for tracker in self.trackers}
        trainer.loggers = [placed.get(id(logger), logger) for logger in trainer.loggers]

    def set_up_data(self, stage: str) -> None:
        """Reads the data, before anything is written.

        Args:
            stage: Lightning's stage, such as ``fit``.
        """
        if stage != "predict":  # predict reads its own file and needs no download
            self.data.prepare_data()
        self.data.setup(stage)

    def require_rows(self, trainer: Trainer) -> None:
        """Refuses more processes than there are rows: one without any would leave the others waiting.

        Args:
            trainer: The Trainer, for its processes.
        """
        processes = trainer.world_size
        rows = {"n_train": len(self.data.train), "n_val": len(self.data.val), "n_test": len(self.data.test)}
        name = min(rows, key=lambda name: rows[name])
        if rows[name] < processes:
            raise UserError(
                f"{name} {rows[name]} gives {processes} processes not a row each: --trainer.devices {rows[name]}, or a"
                f" larger --data.{name}"
            )

    def build_model(self, trainer: Trainer, task: Task) -> None:
        """Builds the model, before anything is written.

        Args:
            trainer: The Trainer, for its precision and its device.
            task: The task of the labels.
        """
        self.model.build(task, str(trainer.precision), building_device(trainer.strategy))
        limit = self.model.max_tokens
        if limit is not None and self.data.max_length > limit:
            raise UserError(
                f"--data.max_length {self.data.max_length}: {self.model.model_name_or_path}"
                f" takes at most {limit} tokens"
            )
        refuse_model(trainer, self.model, self.data)
        if self.word == "fit":
            refuse_skipped_layers(trainer, getattr(self.model.model, "config", None))

    def find_checkpoint(self) -> Path:
        """Finds the checkpoint that ``--ckpt_path`` names.

        Raises:
            UserError: If there is no such checkpoint.
        """
        ckpt_path = self.settings.ckpt_path
        if ckpt_path is None:
            raise UserError("which weights? say --ckpt_path best, last or a file")
        if ckpt_path not in ("best", "last"):
            return Path(ckpt_path)
        run = self.settings.run_path or next(
            (run for runs in (self.runs, *self.former_runs) if (run := find_newest(runs, self.settings.sha256))), None
        )
        if run is None:
            raise UserError(
                f"--ckpt_path {ckpt_path}: no run of this very configuration in {self.runs}: name the run,"
                " --config RUN_DIR/config.yaml, or a checkpoint file"
            )
        path = checkpoint_of(run, ckpt_path)
        if not path.is_file():
            raise UserError(
                f"--ckpt_path {ckpt_path}: {run} has no {path.name}:"
                " it was stopped before the first, or ran without a validation"
            )
        return path
