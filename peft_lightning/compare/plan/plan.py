"""The plan of a comparison, ``plan.json``: its recipes, seeds and overrides, and the runs that follow from them.

The plan keeps the settings of every recipe, with the overlays laid over them, and the overrides for all runs. So a
recipe that is edited or deleted while the comparison runs changes nothing, and the comparison's folder can be moved.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from peft_lightning.compare.plan.folder_names import name_problem
from peft_lightning.compare.plan.overrides import override, read_overrides
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, merge, method_of, recipe_name
from peft_lightning.runs.checked_json import build, checked, read_object, schema_of
from peft_lightning.runs.files import write_atomically

SCHEMA = 3
# In this version overrides were words of a command line, and are read as such.
WORDS_SCHEMA = 2
FILE = "plan.json"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison.

    Args:
        label: The recipe's name in the comparison.
        recipe: The recipe's file, as the user named it.
        seed: The seed of initialisation, order and dropout.
        settings: All settings of the run: the recipe's, the overrides, and those that the comparison decides.
        folder: The run's own folder, which gets its ``lightning_logs``.
    """

    label: str
    recipe: Path
    seed: int
    settings: Config
    folder: Path


@dataclass(frozen=True)
class PlannedRecipe:
    """One recipe of a comparison.

    Args:
        label: Its name in the comparison: its stem, with as many folders before it as make it unique.
        path: The recipe's file, as the user named it.
        settings: Its settings, with the overlays laid over them.
    """

    label: str
    path: str
    settings: Config


@dataclass(frozen=True)
class Plan:
    """The plan of a comparison.

    Args:
        recipes: The recipes, in the user's order.
        overlays: The files laid over every recipe, as the user named them.
        seeds: The seeds that every recipe is trained with.
        overrides: Settings for every run, from ``read_overrides``.
        directory: The directory in which it was begun, to which relative paths in its settings are relative; None if
            that was not kept.
        baseline: The label of the recipe that the report compares all others with; None if none was chosen.
        metric: The key of the metric that the report compares recipes by; None for the headline of the runs' task.
    """

    recipes: tuple[PlannedRecipe, ...]
    overlays: tuple[str, ...]
    seeds: tuple[int, ...]
    overrides: Config
    directory: str | None = None
    baseline: str | None = None
    metric: str | None = None

    def runs(self, folder: Path) -> tuple[PlannedRun, ...]:
        """Returns the runs in the order in which they start.

        All recipes run with one seed before any runs with the next, and each seed begins with another recipe. So a
        machine that becomes warm or busy slows all recipes alike.

        Args:
            folder: The comparison's folder.
        """
        runs = []
        for turn, seed in enumerate(self.seeds):
            start = turn % len(self.recipes)
            for recipe in (*self.recipes[start:], *self.recipes[:start]):
                place = folder / "runs" / recipe.label / f"seed_{seed}"
                own = {
                    "recipe": recipe_name(Path(recipe.path)),
                    "seed_everything": seed,
                    "trainer": {"default_root_dir": str(place)},
                }
                settings = merge(self.settings_of(recipe), own)
                runs.append(PlannedRun(recipe.label, Path(recipe.path), seed, settings, place))
        return tuple(runs)

    def settings_of(self, recipe: PlannedRecipe) -> Config:
        """Returns a recipe's settings with the overrides laid over them."""
        return override(recipe.settings, self.overrides)

    def write(self, folder: Path) -> None:
        """Writes the plan into the comparison's folder.

        Args:
            folder: The comparison's folder, which is made if it does not exist.

        Raises:
            UserError: If the folder already holds a comparison, or cannot be written.
        """
        if (folder / FILE).exists():
            raise UserError(
                f"{folder} already holds a comparison: go on with --resume {folder}, or choose another --name"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make {folder} ({error.strerror}): choose another --name, or free space") from error
        content = {"schema": SCHEMA, **asdict(self)}
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_plan(folder: Path) -> Plan:
    """Reads the plan in a comparison's folder.

    Raises:
        UserError: If there is none, or it is damaged or of another version of the program.
    """
    path = folder / FILE
    try:
        content = read_object(path)
        if (schema := schema_of(content)) not in (WORDS_SCHEMA, SCHEMA):
            raise UserError(
                f"{path} is a plan of version {schema}; this version of peft-lightning reads versions"
                f" {WORDS_SCHEMA} and {SCHEMA}: use the one that began the comparison"
            )
        return _built(content, folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} holds no comparison ({FILE}): name the folder of one") from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or begin a new comparison") from error


_KEYS = tuple(field.name for field in fields(Plan))


def _built(content: dict[str, Any], folder: Path) -> Plan:
    if content["schema"] == WORDS_SCHEMA:
        content["overrides"] = read_overrides(checked(list[str], content.get("overrides"), "overrides"))
    plan = build(Plan, {key: value for key, value in content.items() if key in _KEYS})
    _check(plan)
    plan.runs(folder)  # an override that fits no recipe shows here
    return plan


def _check(plan: Plan) -> None:
    """Refuses what no comparison has: no recipe or seed, a recipe without a method or with another's label."""
    for name in ("recipes", "seeds"):
        if not getattr(plan, name):
            raise ValueError(f"{name} is empty")
    for seed in plan.seeds:
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed {seed} is not from 0 to {2**32 - 1}")
    for recipe in plan.recipes:
        if (problem := name_problem(recipe.label)) is not None:
            raise ValueError(f"a recipe's label {recipe.label[:60]!r} {problem}")
        if not method_of(recipe.settings):
            raise ValueError(f"no recipe: {recipe.label!r}")
    labels = {recipe.label for recipe in plan.recipes}
    if len(labels) < len(plan.recipes):
        raise ValueError("two recipes have the same label")
    if plan.baseline is not None and plan.baseline not in labels:
        raise ValueError(f"the baseline {plan.baseline[:60]!r} is none of the recipes")
