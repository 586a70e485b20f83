"""Checks what ``fit`` would train from its settings alone: neither data nor a Trainer are made."""

import json
from typing import Any

from jsonargparse import ArgumentParser

from peft_lightning.commands.fit import Fit
from peft_lightning.commands.given_classes import GivenClasses, Refused
from peft_lightning.commands.lightning_cli import PeftLightningCLI
from peft_lightning.commands.tracker_settings import with_folders
from peft_lightning.engine.devices import devices_of
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.recipes import Config
from peft_lightning.runs.continuation import precision_in_full


class ModelCheck(PeftLightningCLI):
    """Parses the settings of a run as ``fit`` does, and makes and checks the module of them, without a model in it.

    Args:
        settings: The settings.
        here: Whether the run will be on this machine, so that what it lacks is refused too.

    Raises:
        UserError: ``fit`` would refuse the settings.
    """

    def __init__(self, settings: Config, here: bool) -> None:
        self._here = here
        super().__init__(Fit, ["--config", json.dumps(with_folders(settings))], [])

    def instantiate_classes(self) -> None:
        """Makes the module alone: loggers, for example, may open connections."""
        config = self._settings(Fit.word).config
        trainer: dict[str, Any] = config["trainer"]
        # One of them may be what sets the precision.
        if trainer["plugins"]:
            return
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(TextClassifier, "model")
        try:
            made = parser.instantiate(
                parser.parse_object({"model": config["model"]}), instantiators=[(GivenClasses().make, object, True)]
            )
        except Refused as refusal:
            raise refusal.error from refusal
        # None for a kind of device that is not known here: then only what holds on all of them is checked.
        device = next(iter(devices_of(trainer["accelerator"], trainer["devices"])), None) if self._here else None
        made.model.check(precision_in_full(trainer["precision"]), device)

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs nothing."""
