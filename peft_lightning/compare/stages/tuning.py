"""The learning rates tried for each recipe, their results, and the rate chosen: ``tuning.json``."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from peft_lightning.errors import UserError
from peft_lightning.runs.checked_json import build, read_object, schema_of
from peft_lightning.runs.files import write_atomically
from peft_lightning.task import FIRST, Metric, problem_type_in, task_named

SCHEMA = 1
FILE = "tuning.json"
# The field of a try that the file names by its metric: val_acc for classes.
MEASURED = "validation"
# Two steps are a factor of ten, so 5 rates span two decades. That shows when a recipe has the rate of another method.
FACTOR = math.sqrt(10)


@dataclass(frozen=True)
class Try:
    """One learning rate that is tried for a recipe.

    Args:
        learning_rate: The rate.
        validation: The task's headline metric on the validation split; None if the run has not finished.
        val_loss: Loss on the validation split, of the same checkpoint.
        diverged: Whether the run ended because its loss became NaN or infinite.
    """

    learning_rate: float
    validation: float | None = None
    val_loss: float | None = None
    diverged: bool = False

    @property
    def tried(self) -> bool:
        """Whether the rate has a result. A rate so high that the run diverged has one; a run that failed has none."""
        return self.validation is not None or self.diverged


@dataclass(frozen=True)
class Tuning:
    """The tuning of a comparison's learning rates.

    Args:
        budget: Number of rates for each recipe.
        tries: The rates of each recipe, lowest first, by the recipe's label.
        chosen: The rate that the recipe's runs train with, by its label; empty until all rates are tried.
        seed: The seed that all tries are trained with.
        problem_type: The task, which decides the metric.
        metric_key: The metric that recipes are compared by; None for the task's headline, which also decides where the
            task has no metric of that key.
    """

    budget: int
    tries: dict[str, tuple[Try, ...]]
    chosen: dict[str, float]
    seed: int | None = None
    problem_type: str = FIRST.problem_type
    metric_key: str | None = None

    @property
    def metric(self) -> Metric:
        """The metric by which rates are chosen."""
        return _metric(self.problem_type, self.metric_key)

    @property
    def tried(self) -> dict[str, int]:
        """Number of rates with a result, by the recipe's label."""
        return {label: sum(trial.tried for trial in trials) for label, trials in self.tries.items()}

    @property
    def complete(self) -> bool:
        """Whether every rate has a result, and the choice is made."""
        return bool(self.chosen) and all(count == self.budget for count in self.tried.values())

    def write(self, folder: Path) -> None:
        """Writes the tuning into a comparison's folder."""
        key = _validation_key(self.metric)
        tries = {
            label: [
                {key if name == MEASURED else name: value for name, value in asdict(trial).items()} for trial in trials
            ]
            for label, trials in self.tries.items()
        }
        content = {"schema": SCHEMA, "factor": FACTOR, **asdict(self), "tries": tries}
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_tuning(folder: Path) -> Tuning | None:
    """Reads the tuning in a comparison's folder.

    Returns:
        The tuning; None if the comparison was not tuned.

    Raises:
        UserError: If the file is damaged, or of another version of the program.
    """
    path = folder / FILE
    try:
        content = read_object(path)
        if (schema := schema_of(content)) != SCHEMA:
            raise UserError(f"{path} is of version {schema}; this version of peft-lightning reads {SCHEMA}")
        return _built(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or begin a new comparison") from error


_KEYS = tuple(field.name for field in fields(Tuning))


def _built(content: Mapping[str, Any]) -> Tuning:
    key = _validation_key(_metric(problem_type_in(content), content.get("metric_key")))
    tries = {
        label: [{MEASURED if name == key else name: value for name, value in trial.items()} for trial in trials]
        for label, trials in content["tries"].items()
    }
    kept = {name: value for name, value in content.items() if name in _KEYS}
    tuning = build(Tuning, kept | {"tries": tries})
    if unknown := sorted(set(tuning.chosen) - set(tuning.tries)):
        raise ValueError(f"a rate is chosen for {unknown[0]}, for which none was tried")
    return tuning


def _metric(problem_type: str, key: str | None) -> Metric:
    task = task_named(problem_type)
    return next((metric for metric in task.measured() if metric.key == key), task.headline)


def rates_around(own: float, budget: int) -> tuple[float, ...]:
    """Spaces learning rates around a recipe's own by a factor of the square root of ten.

    The recipe's own rate is always among them, in the middle of an odd number. An even number has one more rate above
    it than below, because a rate that is too low is the more common mistake.

    Args:
        own: The recipe's rate.
        budget: Number of rates.

    Returns:
        The rates, lowest first, rounded to three significant digits except for the recipe's own.
    """
    first = -((budget - 1) // 2)
    places = range(first, first + budget)
    return tuple(own if place == 0 else float(f"{own * FACTOR**place:.3g}") for place in places)


def choose(tries: Sequence[Try], own: float, metric: Metric) -> float:
    """Chooses by the validation metric, then by the lower validation loss, then the lower rate.

    Args:
        tries: The tries, lowest rate first.
        own: The recipe's own rate, which is returned if no try finished.
        metric: The metric that was measured.
    """
    measured = [(trial, trial.validation) for trial in tries if trial.validation is not None]
    if not measured:
        return own
    return max(measured, key=lambda pair: (metric.oriented(pair[1]), _lowness(pair[0].val_loss)))[0].learning_rate


def tuning_in_words(tuning: Tuning, called: Callable[[str], str] = str) -> list[str]:
    """Says which rates were chosen, and where a better one may lie beyond those tried.

    Args:
        tuning: The tuning.
        called: Returns the name of a recipe in the sentences, from its label.
    """
    sentences = []
    for label, rate in tuning.chosen.items():
        tries = tuning.tries[label]
        best = next((trial for trial in tries if trial.learning_rate == rate), None)
        if best is None or best.validation is None:
            sentences.append(f"{called(label)}: no rate could be trained; it keeps its own, {rate:g}")
            continue
        tried, diverged = tuning.tried[label], sum(trial.diverged for trial in tries)
        besides = [f"{diverged} of them diverged"] if diverged else []
        besides += [f"{len(tries) - tried} more without a result"] if tried < len(tries) else []
        of = f"{tried} ({', '.join(besides)})" if besides else f"{tried}"
        words = tuning.metric.words(best.validation)
        sentence = f"{called(label)}: learning rate {rate:g} of {of}, {words} validation {tuning.metric.name}"
        ends = {tries[0].learning_rate: "lowest", tries[-1].learning_rate: "highest"}
        if rate in ends:
            sentence += f"; it is the {ends[rate]} tried, and beyond it may be a better one"
        sentences.append(sentence)
    return sentences


def _lowness(loss: float | None) -> float:
    return -loss if loss is not None and math.isfinite(loss) else -math.inf


def _validation_key(metric: Metric) -> str:
    return metric.validation.replace("/", "_")
