"""What each word of the command line does around Lightning's Trainer: one command, one file."""

from peft_lightning.commands.command import Command
from peft_lightning.commands.evaluate import Test, Validate
from peft_lightning.commands.fit import Fit
from peft_lightning.commands.predict import Predict

COMMANDS: dict[str, type[Command]] = {"fit": Fit, "validate": Validate, "test": Test, "predict": Predict}
