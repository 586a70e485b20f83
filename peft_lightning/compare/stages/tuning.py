"""Which learning rates were tried for each recipe, with which result, and which was chosen: ``tuning.json``."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically

SCHEMA = 1
FILE = "tuning.json"
# Two steps are a factor of ten: 5 rates span two decades, which tells a rate of another method from one's own.
FACTOR = math.sqrt(10)


@dataclass(frozen=True)
class Try:
    """One learning rate that is tried for a recipe.

    Args:
        learning_rate: The rate.
        val_acc: Accuracy on the validation split, from 0 to 1; None if the run did not finish, or has not yet.
        val_loss: Loss on the validation split, of the same checkpoint.
        diverged: Whether the run ended because its loss was no number any more.
    """

    learning_rate: float
    val_acc: float | None = None
    val_loss: float | None = None
    diverged: bool = False

    @property
    def tried(self) -> bool:
        """Whether the rate had its chance: a rate that is too high is a result, a run that failed is none."""
        return self.val_acc is not None or self.diverged


@dataclass(frozen=True)
class Tuning:
    """The tuning of a comparison's learning rates.

    Args:
        budget: How many rates each recipe gets.
        tries: The rates of each recipe, lowest first, by its label.
        chosen: The rate that its runs train with, by its label; empty until all are tried.
        seed: The seed that all tries are trained with.
    """

    budget: int
    tries: dict[str, tuple[Try, ...]]
    chosen: dict[str, float]
    seed: int | None = None

    @property
    def tried(self) -> dict[str, int]:
        """How many rates had their chance, by the recipe's label."""
        return {label: sum(one.tried for one in ones) for label, ones in self.tries.items()}

    @property
    def complete(self) -> bool:
        """Whether every rate had its chance, and the choice is made."""
        return bool(self.chosen) and all(count == self.budget for count in self.tried.values())

    def write(self, folder: Path) -> None:
        """Keeps the tuning.

        Args:
            folder: The comparison's folder.
        """
        content = {"schema": SCHEMA, "factor": FACTOR, **asdict(self)}
        write_atomically(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())


def read_tuning(folder: Path) -> Tuning | None:
    """Reads the tuning of a comparison.

    Args:
        folder: The comparison's folder.

    Returns:
        The tuning; None where the comparison was not tuned.

    Raises:
        UserError: If the file is damaged, or of another version of the program.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise UserError(f"{path} is of version {content['schema']}; this version of peft-lightning reads {SCHEMA}")
        tries = {label: tuple(Try(**one) for one in ones) for label, ones in content["tries"].items()}
        return Tuning(content["budget"], tries, dict(content["chosen"]), content["seed"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or begin a new comparison") from error


def rates_around(own: float, budget: int) -> tuple[float, ...]:
    """Spaces learning rates around a recipe's own by a factor of the square root of ten.

    The own rate is always among them, in the middle of an odd number; of an even number the extra one is higher,
    because a rate that is too low is the more common mistake.

    Args:
        own: The recipe's rate.
        budget: How many rates.

    Returns:
        The rates, lowest first, of three significant digits but for the own one.
    """
    first = -((budget - 1) // 2)
    places = range(first, first + budget)
    return tuple(own if place == 0 else float(f"{own * FACTOR**place:.3g}") for place in places)


def choose(tries: Sequence[Try], own: float) -> float:
    """Chooses by validation accuracy, then by the lower validation loss, then the lower rate.

    Args:
        tries: What was tried, lowest rate first.
        own: The recipe's own rate, which stays where no try finished.
    """
    measured = [one for one in tries if one.val_acc is not None]
    return max(measured, key=_worth).learning_rate if measured else own


def tuning_in_words(tuning: Tuning) -> list[str]:
    """Says what was chosen, and where more rates might have found a better one.

    Args:
        tuning: The tuning, with its choice.
    """
    sentences = []
    for label, rate in tuning.chosen.items():
        tries = tuning.tries[label]
        best = next((one for one in tries if one.learning_rate == rate), None)
        if best is None or best.val_acc is None:
            sentences.append(f"{label}: no rate could be trained; it keeps its own, {rate:g}")
            continue
        tried, diverged = tuning.tried[label], sum(one.diverged for one in tries)
        besides = [f"{diverged} of them diverged"] if diverged else []
        besides += [f"{len(tries) - tried} more without a result"] if tried < len(tries) else []
        of = f"{tried} ({', '.join(besides)})" if besides else f"{tried}"
        said = f"{label}: learning rate {rate:g} of {of}, {100 * best.val_acc:.1f} % validation accuracy"
        ends = {tries[0].learning_rate: "lowest", tries[-1].learning_rate: "highest"}
        if rate in ends:
            said += f"; it is the {ends[rate]} tried, and beyond it may be a better one"
        sentences.append(said)
    return sentences


def _worth(one: Try) -> tuple[float, float]:
    loss = one.val_loss
    return one.val_acc or 0.0, -loss if loss is not None and math.isfinite(loss) else -math.inf
