"""Checks the settings of a comparison's runs as ``fit`` reads them, before anything is started.

A process of its own parses them: it imports torch and Lightning, which the process that starts runs does without.
"""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence

from peft_lightning.compare.plan.plan import Plan
from peft_lightning.errors import Setting, UserError
from peft_lightning.recipes import Config

# Seconds for the imports, which take some 10, and the parsing, 0.2 for each recipe.
_PATIENCE_S = 600.0


def check_settings(plans: Sequence[Plan]) -> dict[str, str | None]:
    """Checks that ``fit`` takes the settings of every recipe of some plans.

    Args:
        plans: The plans.

    Returns:
        The names of this machine's devices as records have them, by ``gpu`` and ``cpu``; None for one that it does not
        have. Empty if nothing could be checked.

    Raises:
        UserError: If it refuses those of a recipe.
    """
    recipes = [(recipe.label, plan.settings_of(recipe)) for plan in plans for recipe in plan.recipes]
    process = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps([settings for _, settings in recipes]),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    if process.returncode:
        # What breaks here for another reason than a wrong setting shows in the first run, with its log.
        return {}
    found = json.loads(process.stdout.splitlines()[-1])
    if found["refusal"] is not None:
        number, refusal = found["refusal"]
        raise UserError(f"{recipes[number][0]}: {refusal}")
    devices: dict[str, str | None] = found["devices"]
    return devices


def first_refusal(recipes: Sequence[Config]) -> tuple[int, str] | None:
    """Returns the number of the first recipe whose settings ``fit`` refuses, with its words; None if it takes all.

    Args:
        recipes: The settings of each recipe, with the overrides.
    """
    from peft_lightning.commands.fit import Fit
    from peft_lightning.commands.lightning_cli import PeftLightningCLI
    from peft_lightning.commands.tracker_settings import with_folders
    from peft_lightning.library_messages import quieten
    from peft_lightning.startup import import_bitsandbytes_without_compiler

    quieten()
    import_bitsandbytes_without_compiler()
    for number, settings in enumerate(recipes):
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                PeftLightningCLI(Fit, ["--config", json.dumps(with_folders(settings)), "--print_config"], [])
        except UserError as error:
            return number, error.worded(Setting.as_flag)
    return None


def devices_here() -> dict[str, str | None]:
    """Returns the names of this machine's devices as records have them, by ``gpu`` and ``cpu``."""
    import torch

    from peft_lightning.runs.environment import processor_name

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"gpu": gpu, "cpu": f"{processor_name()}, {torch.get_num_threads()} threads"}


if __name__ == "__main__":
    print(json.dumps({"refusal": first_refusal(json.load(sys.stdin)), "devices": devices_here()}))
