"""A sweep, ``sweep.json``: one comparison of the same recipes at each of several values of one setting.

Each value is a comparison of its own, with its plan, runs and report in a folder of the sweep's. So whatever works for
a comparison works for one value, and a comparison without a sweep knows nothing of sweeps.
"""

import difflib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.overrides import DECIDED, value_of
from peft_lightning.compare.plan.plan import FILE as PLAN
from peft_lightning.compare.plan.plan import Plan, read_plan
from peft_lightning.errors import UserError
from peft_lightning.runs.checked_json import build, read_object, schema_of
from peft_lightning.runs.files import write_atomically

SCHEMA = 1
FILE = "sweep.json"
# Letters of a value in the name of its folder; the value itself is in the plan.
_LONGEST = 60
EXAMPLE = "--sweep data.n_train 100 300 1000"


@dataclass(frozen=True)
class Sweep:
    """The values of one setting at which recipes are compared.

    >>> Sweep("data.n_train", ("100", "3000")).folders
    ('n_train_100', 'n_train_3000')

    Args:
        setting: The setting's dotted name.
        values: Its values, as the user wrote them, in the user's order.
    """

    setting: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of the setting's name."""
        return self.setting.rpartition(".")[2]

    @property
    def titles(self) -> tuple[str, ...]:
        """The values with the setting's name: ``n_train 100``."""
        return tuple(f"{self.name} {value}" for value in self.values)

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as numbers; None if one is a word."""
        numbers = [_number(value) for value in self.values]
        known = tuple(number for number in numbers if number is not None)
        return known if len(known) == len(numbers) else None

    @property
    def folders(self) -> tuple[str, ...]:
        """The name of each value's folder in the sweep's."""
        names: list[str] = []
        for value in self.values:
            letters = re.sub(r"[^\w.+-]+", "-", value)[:_LONGEST].strip("-") or "value"
            name, number = f"{self.name}_{letters}", 2
            # On many file systems a and A are one folder.
            while name.casefold() in {taken.casefold() for taken in names}:
                name, number = f"{self.name}_{letters}-{number}", number + 1
            names.append(name)
        return tuple(names)

    def write(self, folder: Path) -> None:
        """Writes the sweep into its folder, which makes the folder a sweep's."""
        write_atomically(folder / FILE, (json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n").encode())


@dataclass(frozen=True)
class Part:
    """A comparison at one value of a sweep, or a whole comparison without a sweep.

    Args:
        plan: Its plan.
        folder: Its folder.
        value: The value with its setting's name, ``n_train 100``; None without a sweep.
    """

    plan: Plan
    folder: Path
    value: str | None = None

    def variant(self, label: str) -> str:
        """Returns the name of a recipe at this value: ``lora n_train 100``."""
        return label if self.value is None else f"{label} {self.value}"


def plan_sweep(
    sweep: Sweep,
    recipes: Sequence[str],
    seeds: Sequence[int],
    overlays: Sequence[str] = (),
    overrides: Sequence[str] = (),
    baseline: str | None = None,
    metric: str | None = None,
) -> tuple[Plan, ...]:
    """Plans the comparison at each value of a sweep.

    Args:
        sweep: The setting and its values.
        recipes: As for ``build_plan``, like all that follow.
        seeds: The seeds, the same at all values.
        overlays: Files with differences for all recipes.
        overrides: Settings for all runs, as words; not the setting that is swept.
        baseline: The label of the recipe that all others are compared with.
        metric: The key of the metric that the reports compare recipes by; None for the task's headline.

    Raises:
        UserError: If the setting is given to all runs as well, or ``build_plan`` refuses one of the plans.
    """
    if f"--{sweep.setting}" in {word.partition("=")[0] for word in overrides}:
        raise UserError(f"--sweep gives runs several values of {sweep.setting}: leave --{sweep.setting} out")
    return tuple(
        build_plan(recipes, seeds, overlays, [*overrides, f"--{sweep.setting}={value}"], baseline, metric)
        for value in sweep.values
    )


def read_words(words: Sequence[str], sections: Sequence[str]) -> Sweep:
    """Reads the words after ``--sweep``: a setting and its values.

    Args:
        words: The words.
        sections: The sections that settings are in.

    Raises:
        UserError: If they name no setting that can be swept, fewer than two values, or one value twice.
    """
    setting, *values = words
    setting = setting.removeprefix("--")
    section, dot, name = setting.partition(".")
    if setting in DECIDED:
        raise UserError(f"--sweep {setting}: {DECIDED[setting]}")
    if not dot or not name or section not in sections:
        near = difflib.get_close_matches(section, sections, 1) if dot else []
        mend = f"did you mean {near[0]}.{name}?" if near else f"name it in full, as in {EXAMPLE}"
        raise UserError(f"--sweep {setting} is no setting: {mend}")
    if len(values) < 2:
        raise UserError(f"--sweep {setting}: name two values or more, as in {EXAMPLE}")
    for position, value in enumerate(values):
        if any(_same(value, other) for other in values[:position]):
            raise UserError(f"--sweep {setting} names {value} twice: name every value once")
    return Sweep(setting, tuple(values))


def read_sweep(folder: Path) -> Sweep | None:
    """Reads the sweep in a folder; returns None if the folder holds none.

    Raises:
        UserError: If the file is damaged, or of another version of the program.
    """
    path = folder / FILE
    try:
        content = read_object(path)
        if (schema := schema_of(content)) != SCHEMA:
            raise UserError(f"{path} is of version {schema}; this version of peft-lightning reads {SCHEMA}")
        names = {field.name for field in fields(Sweep)}
        sweep = build(Sweep, {key: value for key, value in content.items() if key in names})
        return read_words([sweep.setting, *sweep.values], [sweep.setting.partition(".")[0]])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or begin a new comparison") from error


def parts_of(sweep: Sweep, plans: Sequence[Plan], folder: Path) -> tuple[Part, ...]:
    """Returns the comparisons of a sweep.

    Args:
        sweep: The sweep.
        plans: The plan at each value.
        folder: The sweep's folder.
    """
    places = (folder / name for name in sweep.folders)
    return tuple(map(Part, plans, places, sweep.titles))


def read_parts(folder: Path) -> tuple[Part, ...]:
    """Reads the comparisons in a folder: one for each value of a sweep, or the only one.

    Raises:
        UserError: If there is none, or a file is damaged.
    """
    sweep = read_sweep(folder)
    if sweep is None:
        return (Part(read_plan(folder), folder),)
    return parts_of(sweep, [read_plan(folder / name) for name in sweep.folders], folder)


def holds_comparison(folder: Path) -> bool:
    """Returns whether a folder holds a comparison or a sweep."""
    return (folder / PLAN).is_file() or (folder / FILE).is_file()


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _same(value: str, other: str) -> bool:
    numbers = _number(value), _number(other)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return bool(value_of(value) == value_of(other))
