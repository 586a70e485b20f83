"""Checks the settings of a comparison's runs as ``fit`` reads them; the program starts this command itself.

``python -m peft_lightning settings_check FILE`` reads ``recipes``, pairs of a name and settings, and ``here``, whether
the runs will be on this machine, from a JSON file.
"""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

from peft_lightning.errors import UserError
from peft_lightning.recipes import Config


def run(words: list[str]) -> None:
    """Prints, in a JSON line, the names of this machine's devices as records have them.

    Args:
        words: The file.

    Raises:
        UserError: ``fit`` would refuse the settings of a recipe, which is named.
    """
    asked = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    refuse_settings(asked["recipes"], asked["here"])
    print(json.dumps(devices_here()))


def refuse_settings(recipes: Sequence[tuple[str, Config]], here: bool) -> None:
    """Refuses the first recipe whose settings ``fit`` refuses before it reads data.

    Args:
        recipes: The name of each recipe, and its settings with the overrides.
        here: Whether the runs will be on this machine, so that what it lacks is refused too.

    Raises:
        UserError: A recipe is refused.
    """
    from peft_lightning.commands.model_check import ModelCheck
    from peft_lightning.library_messages import quieten
    from peft_lightning.startup import import_bitsandbytes_without_compiler

    quieten()
    import_bitsandbytes_without_compiler()
    for name, settings in recipes:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                ModelCheck(settings, here)
        except UserError as error:
            raise UserError(f"{name}: ", *error.args) from error


def devices_here() -> dict[str, str | None]:
    """Returns the names of this machine's devices as records have them, by ``gpu`` and ``cpu``."""
    import torch

    from peft_lightning.runs.environment import processor_name

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"gpu": gpu, "cpu": f"{processor_name()}, {torch.get_num_threads()} threads"}
