"""Has the settings of a comparison's runs checked before anything is started.

A process of its own does so: it imports torch and Lightning, which the process that starts runs does without.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from peft_lightning.commands.registry import SETTINGS_CHECK
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.job import UNBUFFERED, Attempt, Job
from peft_lightning.compare.execution.outcomes import Outcome, outcome_after
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.errors import UserError

# Seconds for the imports, which take some 10, and 0.2 for each recipe.
_PATIENCE_S = 600.0
_LOG = "log.txt"


def refuse_settings(parts: Sequence[Part], pool: Pool) -> None:
    """Refuses settings that ``fit`` would refuse before it reads data.

    What breaks for another reason than a wrong setting shows in the first run, with its log.

    Args:
        parts: The comparisons.
        pool: Where they will run. If that is this machine, the check starts as their runs do, and shares the imports.

    Raises:
        UserError: A recipe is refused.
    """
    if pool.executor.elsewhere:
        check_settings(parts, here=False)
        return
    with _asked(parts, here=True) as file:
        running = pool.executor.start(_CheckJob("settings", "check", file.parent, file=file), pool.places[0])
        try:
            _raise_refusal(running.outcome())
        finally:
            running.kill()


def check_settings(parts: Sequence[Part], here: bool) -> dict[str, str | None]:
    """Refuses settings that ``fit`` would refuse before it reads data, and finds this machine's devices.

    Args:
        parts: The comparisons.
        here: Whether their runs will be on this machine, so that what it lacks is refused too.

    Returns:
        The names of this machine's devices as records have them, by ``gpu`` and ``cpu``; None for one that it does not
        have. Empty if nothing could be checked.

    Raises:
        UserError: A recipe is refused.
    """
    with _asked(parts, here) as file:
        log = file.with_name(_LOG)
        with log.open("w") as errors:
            try:
                ended = subprocess.run(
                    [sys.executable, *_command(file)], stdout=subprocess.PIPE, stderr=errors, timeout=_PATIENCE_S
                )
            except subprocess.TimeoutExpired:
                return {}
        _raise_refusal(outcome_after(file.parent, ended.returncode, log, False, 0.0))
    if ended.returncode:
        return {}
    devices: dict[str, str | None] = json.loads(ended.stdout.splitlines()[-1])
    return devices


@dataclass(frozen=True, kw_only=True)
class _CheckJob(Job):
    """A job that checks settings.

    Args:
        file: The file that it reads.
    """

    file: Path

    def attempt(self) -> Attempt:
        """Returns the process that checks."""
        log = self.folder / _LOG

        def outcome(exit_code: int, wall_s: float) -> Outcome:
            return outcome_after(self.folder, exit_code, log, False, wall_s)

        return Attempt(_command(self.file), log, outcome, UNBUFFERED)


@contextmanager
def _asked(parts: Sequence[Part], here: bool) -> Iterator[Path]:
    """Writes what is to be checked into a folder that is removed afterwards."""
    recipes = [
        (part.variant(recipe.label), part.plan.settings_of(recipe)) for part in parts for recipe in part.plan.recipes
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "asked.json"
        file.write_text(json.dumps({"recipes": recipes, "here": here}), encoding="utf-8")
        yield file


def _command(file: Path) -> tuple[str, ...]:
    return ("-m", "peft_lightning", SETTINGS_CHECK, str(file))


def _raise_refusal(outcome: Outcome) -> None:
    if outcome.mistake:
        raise UserError(str(outcome.error))
