"""The runs that a report is made from: those of a comparison, and others that join it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from peft_lightning.compare.plan.plan import Plan
from peft_lightning.compare.stages.tuning import Tuning
from peft_lightning.recipes import Config
from peft_lightning.runs.predictions import Answers
from peft_lightning.runs.record import RunRecord, Status
from peft_lightning.task import FIRST, Metric, Task, task_named

# From this number of recipes on the report ranks them. Eight have colours of their own, and their 28 pairs are the most
# that can be read one by one.
MANY = 9

State = Literal[Status, "not_started", "unreadable"]
STATES: dict[State, str] = {
    "running": "unfinished",
    "finished": "finished",
    "interrupted": "interrupted",
    "failed": "failed",
    "out_of_memory": "out of memory",
    "not_started": "not started",
    "unreadable": "unreadable",
}


@dataclass(frozen=True)
class Run:
    """One run, finished or not.

    Args:
        seed: Its seed.
        place: Its directory, as the report names it; the folder that it would have if it has not started.
        state: The record's status, or ``not_started`` or ``unreadable``.
        error: Why it ended, if it says so.
        record: Its record, if there is one.
        config: Its resolved settings, if they could be read.
        answers: Its answers to the test reviews, if it finished.
        history: The file with its losses and metrics by step, if there is one.
        damaged: Sentences on what could not be read and is left out.
    """

    seed: int
    place: str
    state: State
    error: str | None = None
    record: RunRecord | None = None
    config: Config | None = None
    answers: Answers | None = None
    history: Path | None = None
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The runs of one recipe.

    Args:
        label: Its name in the report.
        origin: The recipe's file as it was named, or the directory of a run that joins the comparison.
        settings: The settings in that file.
        runs: Its runs, one for each seed.
        planned: Whether it belongs to the comparison itself.
    """

    label: str
    origin: str
    settings: Config
    runs: tuple[Run, ...]
    planned: bool = True

    @property
    def finished(self) -> list[tuple[Run, RunRecord]]:
        """The runs that finished, with their records."""
        return [(run, run.record) for run in self.runs if run.state == "finished" and run.record is not None]

    @property
    def config(self) -> Config | None:
        """The resolved settings of the first run that has them."""
        return next((run.config for run in self.runs if run.config is not None), None)


@dataclass(frozen=True)
class Study:
    """All that a report is made from.

    Args:
        name: The comparison's name.
        plan: The comparison's plan.
        recipes: The comparison's recipes in its order, then those that joined.
        tuning: The learning rates tried; None if that was not recorded.
        notes: Sentences on what was left out, and why.
        baseline: The label of the recipe that all others are compared with; None if none was chosen.
        chosen: The metric that recipes are compared by, if it is not the task's headline.
    """

    name: str
    plan: Plan
    recipes: tuple[Recipe, ...]
    tuning: Tuning | None
    notes: tuple[str, ...] = ()
    baseline: str | None = None
    chosen: Metric | None = None

    @property
    def many(self) -> bool:
        """Whether there are so many recipes that the report shows them ranked, by matrices and groups."""
        return len(self.recipes) >= MANY

    @property
    def task(self) -> type[Task]:
        """The task of the first run that finished, or if none has, of the first that began."""
        finished = [record for recipe in self.recipes for _, record in recipe.finished]
        begun = [run.record for _, run in self.runs if run.record is not None]
        return next((task_named(record.problem_type) for record in (*finished, *begun)), FIRST)

    @property
    def metric(self) -> Metric:
        """The metric that recipes are compared by."""
        return self.task.headline if self.chosen is None else self.chosen

    @property
    def shown(self) -> tuple[Metric, ...]:
        """The metrics of the table: that which recipes are compared by, then the others of the task."""
        return (self.metric, *(metric for metric in self.task.shown() if metric != self.metric))

    @property
    def runs(self) -> list[tuple[Recipe, Run]]:
        """All runs with their recipes."""
        return [(recipe, run) for recipe in self.recipes for run in recipe.runs]

    @property
    def unfinished(self) -> list[tuple[Recipe, Run]]:
        """The runs that did not finish, with their recipes."""
        return [(recipe, run) for recipe, run in self.runs if run.state != "finished"]
