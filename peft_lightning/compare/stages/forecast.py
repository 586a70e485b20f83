"""The forecast of a comparison's time and memory from a few steps of each recipe: ``forecast.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from peft_lightning.compare.execution.board import peak_memory
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.stages.run_batches import Workload
from peft_lightning.runs.checked_json import build, read_object
from peft_lightning.runs.files import write_atomically

SCHEMA = 1
FILE = "forecast.json"
# Epochs of a short fit: in the first a machine chooses kernels and fills caches, the second has its usual speed.
EPOCHS = 2


@dataclass(frozen=True)
class RecipeForecast:
    """The forecast for a run of one recipe.

    Args:
        label: The recipe's label.
        startup_s: Seconds from the process's start to its first step.
        step_s: Seconds for each optimiser step.
        steps: Optimiser steps of a whole run.
        test_s: Seconds of the test at its end.
        run_s: Seconds of a whole run, from start to end.
        peak_gib: Peak memory of the steps that were tried; a longer batch can exceed it.
        peak_of: The name of the memory that was measured.
        error: Why there is no forecast; None if there is one.
        not_measured: Why time and memory are not forecast, although the short fit finished.
    """

    label: str
    startup_s: float | None = None
    step_s: float | None = None
    steps: int | None = None
    test_s: float | None = None
    run_s: float | None = None
    peak_gib: float | None = None
    peak_of: str = "memory"
    error: str | None = None
    not_measured: str | None = None


@dataclass(frozen=True)
class Forecast:
    """The forecast for a comparison.

    Args:
        recipes: The forecast for a run of each recipe.
        total_s: Seconds of the whole comparison; None if a recipe has no forecast.
    """

    recipes: tuple[RecipeForecast, ...]
    total_s: float | None

    @property
    def run_s(self) -> dict[str, float]:
        """Seconds of a run, by the label of each recipe that has a forecast."""
        return {recipe.label: recipe.run_s for recipe in self.recipes if recipe.run_s is not None}

    @property
    def try_s(self) -> dict[str, float]:
        """Seconds of a run without its test, by the label of each recipe that has a forecast."""
        tests = {recipe.label: recipe.test_s or 0.0 for recipe in self.recipes}
        return {label: run_s - tests[label] for label, run_s in self.run_s.items()}

    @classmethod
    def of_all(cls, forecasts: Mapping[str | None, "Forecast"]) -> "Forecast":
        """Joins the forecasts of a sweep's comparisons; recipes then have the value in their label.

        Args:
            forecasts: The forecast at each value with its setting's name; under None that of a whole comparison.
        """
        recipes = [
            recipe if value is None else replace(recipe, label=f"{recipe.label} {value}")
            for value, forecast in forecasts.items()
            for recipe in forecast.recipes
        ]
        totals = [forecast.total_s for forecast in forecasts.values() if forecast.total_s is not None]
        if len(totals) < len(forecasts):
            return cls(tuple(recipes), None)
        # A cluster has more places than there are runs: then it takes as long as its longest run.
        longest_s = max((recipe.run_s for recipe in recipes if recipe.run_s is not None), default=0.0)
        return cls(tuple(recipes), max(sum(totals), longest_s))

    def write(self, folder: Path) -> None:
        """Writes the forecast into a comparison's folder."""
        content = {"schema": SCHEMA, **asdict(self)}
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_forecast(folder: Path) -> Forecast | None:
    """Reads the forecast in a comparison's folder; returns None if there is none that this version can read."""
    try:
        content = read_object(folder / FILE)
        return build(Forecast, content) if content.pop("schema", None) == SCHEMA else None
    except (OSError, ValueError):
        return None


def project(label: str, outcome: Outcome, tried: Workload, planned: Workload) -> RecipeForecast:
    """Projects the time of a whole run from that of a short fit.

    Args:
        label: The recipe's label.
        outcome: How the short fit ended, with its record and its seconds.
        tried: The batches of the short fit.
        planned: The batches of a whole run.
    """
    record = outcome.record
    if record is not None and record.not_measured is not None:
        return RecipeForecast(label, steps=planned.steps, not_measured=record.not_measured)
    if record is None or len(record.time.epoch_s) != EPOCHS or not tried.train:
        return RecipeForecast(label, error="the steps tried were not timed")
    first_s, usual_s = record.time.epoch_s
    batch_s = usual_s / (tried.train / EPOCHS)
    eval_s = record.time.eval_s or 0.0
    eval_batch_s = eval_s / tried.validation if tried.validation else 0.0
    if planned.windows is not None and record.time.eval_rows:
        # The batches tried hold the longest texts, and a text costs as much as its windows.
        eval_batch_s = eval_s / record.time.eval_rows * planned.windows
    # Seconds that do not grow with the run's length: starting, the slow first steps, writing, ending.
    once_s = (outcome.wall_s or 0.0) - sum(record.time.epoch_s) - eval_s + max(0.0, first_s - usual_s)
    test_s = planned.test * eval_batch_s
    peak_gib, peak_of = peak_memory(record.memory)
    return RecipeForecast(
        label=label,
        startup_s=record.time.startup_s,
        step_s=batch_s * planned.train / planned.steps if planned.steps else None,
        steps=planned.steps,
        test_s=test_s,
        run_s=once_s + planned.train * batch_s + planned.validation * eval_batch_s + test_s,
        peak_gib=peak_gib,
        peak_of=peak_of,
    )


def without_first_start(recipes: Sequence[RecipeForecast]) -> tuple[RecipeForecast, ...]:
    """Takes out of the first recipe's forecast what only its process did: it downloads and tokenises for all.

    Args:
        recipes: The forecasts, in the order in which the short fits ran.
    """
    first, *others = recipes
    usual = [recipe.startup_s for recipe in others if recipe.startup_s is not None]
    if first.startup_s is None or first.run_s is None or not usual or first.startup_s <= max(usual):
        return tuple(recipes)
    once = first.startup_s - max(usual)
    return (replace(first, startup_s=max(usual), run_s=first.run_s - once), *others)
