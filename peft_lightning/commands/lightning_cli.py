"""LightningCLI with merged recipe files and errors of one line."""

import argparse
import errno
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.commands.calibration_options import add_calibration_options
from peft_lightning.commands.command import Command
from peft_lightning.commands.command_settings import Settings
from peft_lightning.commands.ended_processes import only_forward_sigterm
from peft_lightning.commands.engine_options import add_engine_options, refuse_engine
from peft_lightning.commands.given_classes import GivenClasses, Refused
from peft_lightning.commands.meeting_port import listen_for_processes
from peft_lightning.commands.mends import mending, run_mend
from peft_lightning.commands.merged_files import merge_files
from peft_lightning.commands.mistakes import explain_argument
from peft_lightning.commands.processes import first_one_speaks
from peft_lightning.commands.program import program
from peft_lightning.commands.setting_names import CHECKPOINT, EARLY_STOPPING
from peft_lightning.commands.sharded_settings import refuse_precision
from peft_lightning.commands.shorthands import SHORT_NAMES, add_to_help
from peft_lightning.commands.source_settings import FillingParser, fill_in
from peft_lightning.commands.started_ahead import hand_over
from peft_lightning.commands.stopping_options import add_stopping_options, early_stopping
from peft_lightning.commands.trainer_features import refuse_features
from peft_lightning.commands.trainer_parts import trainer_parts
from peft_lightning.commands.trainer_settings import refuse_places, require_least, wording_misfits
from peft_lightning.commands.whole_numbers import try_whole_numbers_first
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.engine.sharding import building_device
from peft_lightning.errors import Setting, UserError
from peft_lightning.library_messages import quieten
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.files import CannotWrite
from peft_lightning.startup import import_bitsandbytes_without_compiler
from peft_lightning.stop_signals import may_raise

# Options of the Trainer's methods that the commands set themselves, so that no flag can change them.
DECIDED = {"weights_only", "verbose", "return_predictions"}


class PeftLightningCLI(LightningCLI):
    """LightningCLI for TextClassifier and TextDataModule.

    Args:
        kind: The command.
        arguments: The words after the command's own, with at most one ``--config``: the merged files.
        files: The files that were merged.
    """

    command: Command

    def __init__(self, kind: type[Command], arguments: list[str], files: list[Path]) -> None:
        self._kind = kind
        self._files = files
        self._word = kind.word
        self._launching = {"config", "ckpt_path"}
        strict = {"exit_on_error": False, "allow_abbrev": False}
        try_whole_numbers_first(Trainer.__init__)
        super().__init__(
            TextClassifier,
            TextDataModule,
            save_config_callback=None,
            seed_everything_default=42,
            trainer_defaults={
                # Validating an untrained model measures nothing and takes time before the first step.
                "num_sanity_val_steps": 0,
                # Lightning counts PEFT's frozen copies, and 4-bit weights as packed; ParameterCount does neither.
                "enable_model_summary": False,
                # The training sampler shards by length itself; Lightning's sampler would undo the grouping.
                "use_distributed_sampler": False,
            },
            parser_class=FillingParser,
            parser_kwargs={"prog": program(), **strict, self._word: dict(strict)},
            args=[kind.word, *arguments],
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Returns only the command that runs: building the parsers of all four would take a second at every start."""
        return {self._word: LightningCLI.subcommands()[self._word] | DECIDED}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the settings of checkpoints and engine, and gives the data module the model's tokeniser."""
        parser.add_lightning_class_args(RunCheckpoints, CHECKPOINT)
        add_stopping_options(parser)
        add_calibration_options(parser)
        add_engine_options(parser)
        parser.link_arguments("model.model_name_or_path", "data.model_name_or_path")
        parser.link_arguments("model.revision", "data.revision")
        parser.link_arguments("model.problem_type", "data.problem_type")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        # Lightning's own help speaks of other files and services than this program uses.
        parser.description = (self._kind.__doc__ or "").strip()
        (checkpoint,) = (action for action in parser._actions if action.dest == "ckpt_path")
        checkpoint.help = self._kind.ckpt_path_help
        (group,) = (group for group in parser._action_groups if checkpoint in group._group_actions)
        group.title = "launching"
        before = {action.dest for action in parser._actions}
        self._kind.add_options(parser)
        self._launching |= {action.dest for action in parser._actions} - before
        add_to_help(parser)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the command line."""
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            # The first two words after the command's own are --config and the merged files.
            words = args[3:] if args[1:2] == ["--config"] else args[1:]
            known = [*(action.dest for action in self._parser(self._word)._actions), *SHORT_NAMES]
            raise UserError(explain_argument(str(error), self._files, words, known, self._word)) from error
        if (config := self.config.get(self._word)) is not None:
            self._fill_in(config)

    def _fill_in(self, config: Any) -> None:
        """Sets what a source's name stands for, unless it is set, so that the run's own file states it."""
        filled = fill_in(config)
        if "model.problem_type" in filled:
            config["data.problem_type"] = filled["model.problem_type"]
        # Standard output is for predict's answers.
        if filled and self._word != "predict":
            flags = " ".join(Setting(name, value).as_flag() for name, value in filled.items())
            rank_zero_only(print)(f"data: {config['data.source']} is read with {flags}", flush=True)

    def _parse_ckpt_path(self) -> None:
        """Leaves the configuration alone: a checkpoint's settings never replace the user's."""

    def instantiate_classes(self) -> None:
        """Makes the objects of the configuration, and the Trainer of them."""
        self._given = GivenClasses()
        try:
            self.config_init = self.parser.instantiate(self.config, instantiators=[(self._given.make, object, True)])
        except Refused as refusal:
            raise refusal.error from refusal
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")
        self.trainer = self.instantiate_trainer()

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise UserError(f"--seed_everything: {error}") from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the Trainer with the command's callbacks and loggers."""
        word = str(self.subcommand)
        trainer_settings = self._get(self.config_init, "trainer")
        require_least(trainer_settings)
        refuse_places(trainer_settings)
        refuse_precision(trainer_settings)
        self.command = self._kind(
            self._settings(word), self.model, self.datamodule, self._get(self.config_init, CHECKPOINT)
        )
        self.command.trackers = self._given.trackers
        stopping = early_stopping(self._get(self.config_init, EARLY_STOPPING))
        engine, limit = (self._get(self.config_init, name) for name in ("engine", "memory_limit_gib"))
        parts = trainer_parts(self.command, trainer_settings, stopping, engine)
        with wording_misfits(trainer_settings):
            trainer = super().instantiate_trainer(**kwargs, **parts)
        if word == "fit":
            refuse_engine(trainer, engine, limit)
        refuse_features(trainer, trainer_settings, self.model, word)
        self.model.check(str(trainer.precision), building_device(trainer.strategy), trains=word == "fit")
        only_forward_sigterm(trainer)
        listen_for_processes(trainer)
        hand_over(trainer)
        return trainer

    def _settings(self, word: str) -> Settings:
        config = self.config[word]
        plain = yaml.safe_load(self._parser(word).dump(config, skip_unset=False, skip_link_targets=True))
        options = {name: config.get(name) for name in self._launching}
        return Settings(
            config={name: value for name, value in plain.items() if name not in self._launching},
            files=self._files,
            ckpt_path=config.get("ckpt_path"),
            options=options,
        )

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the command, which calls the Trainer itself."""
        may_raise()
        self.command.run(self.trainer)


def run_lightning(kind: type[Command], words: list[str]) -> None:
    """Runs one of Lightning's commands.

    Args:
        kind: The command.
        words: The words after the command's own.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    quieten()
    import_bitsandbytes_without_compiler()
    arguments, files = merge_files(words)
    with mending(run_mend()), first_one_speaks():
        try:
            PeftLightningCLI(kind, arguments, files)
        except MisconfigurationException as error:
            raise UserError(str(error)) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise CannotWrite.because(error, Path(str(error.filename or "the run directory"))) from error
            raise
