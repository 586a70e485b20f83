"""Reads the runs of a comparison from what they left on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from peft_lightning.compare.execution.outcomes import FAILURE, newest_run
from peft_lightning.compare.plan.building import check_baseline
from peft_lightning.compare.plan.folder_names import name_problem, visible
from peft_lightning.compare.plan.plan import PlannedRun, read_plan
from peft_lightning.compare.report.chosen_metric import with_metric
from peft_lightning.compare.report.joining import join, runs_below
from peft_lightning.compare.report.study import Recipe, Run, State, Study
from peft_lightning.compare.stages.tuning import read_tuning
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.checked_json import checked, read_object
from peft_lightning.runs.predictions import Answers, read_answers
from peft_lightning.runs.record import RunRecord, Status


def read_study(
    folder: Path, others: Sequence[Path] = (), baseline: str | None = None, metric: str | None = None
) -> Study:
    """Reads a comparison's runs, and further runs that join it.

    Args:
        folder: The comparison's folder.
        others: Directories of further runs: a run's directory, one that holds ``lightning_logs``, or another
            comparison's folder.
        baseline: The label of the recipe that all others are compared with; that of the plan if None.
        metric: The key of the metric that recipes are compared by; that of the plan if None.

    Raises:
        UserError: If a folder holds no comparison, or no run, or there is no such recipe or metric.
    """
    plan = read_plan(folder)
    planned = plan.runs(folder)
    known: list[Answers] = []
    recipes = [
        Recipe(
            recipe.label,
            recipe.path,
            recipe.settings,
            tuple(
                _planned_run(run, folder, known)
                for run in sorted(planned, key=lambda run: plan.seeds.index(run.seed))
                if run.label == recipe.label
            ),
        )
        for recipe in plan.recipes
    ]
    notes: list[str] = []
    for directory, place in (found for other in others for found in runs_below(other)):
        join(recipes, read_run(directory, place), notes)
    if baseline is not None:
        check_baseline(baseline, [recipe.label for recipe in recipes])
    damaged = [f"{run.place}: {reason}." for recipe in recipes for run in recipe.runs for reason in run.damaged]
    try:
        tuning = read_tuning(folder)
    except UserError as error:
        tuning = None
        damaged.append(f"The learning rates tried are left out: {error}.")
    chosen = baseline if baseline is not None else plan.baseline
    study = Study(folder.resolve().name, plan, tuple(recipes), tuning, (*notes, *damaged), chosen)
    return with_metric(study, metric)


def _sharing(answers: Answers, known: list[Answers]) -> Answers:
    """Lets answers to the same reviews share the arrays of these, which are two thirds of all bytes.

    Args:
        answers: The answers of a run.
        known: Answers to different reviews, one of each; those to others are added.
    """
    for other in known:
        # The type of the labels may decide how a task scores them.
        if answers.labels.dtype == other.labels.dtype and answers.of_same_reviews(other):
            return replace(answers, ids=other.ids, labels=other.labels)
    known.append(answers)
    return answers


def _planned_run(planned: PlannedRun, folder: Path, known: list[Answers]) -> Run:
    directory = newest_run(planned.folder)
    place = str((directory or planned.folder).relative_to(folder))
    run = Run(planned.seed, place, "not_started") if directory is None else read_run(directory, place, planned.seed)
    if run.answers is not None:
        run = replace(run, answers=_sharing(run.answers, known))
    failure = planned.folder / FAILURE
    if run.state == "finished" or not failure.is_file():
        return run
    try:
        content = read_object(failure)
        error = visible(checked(str | None, content.get("error"), "error") or "")
        return replace(run, state=_state(content.get("status")), error=error or None)
    except (OSError, ValueError):
        return replace(run, state="failed", error=f"{failure.name} is damaged")


def _state(status: object) -> State:
    return next((state for state in get_args(Status) if state == status), "failed")


def read_run(directory: Path, place: str, seed: int | None = None) -> Run:
    """Reads a run. Damaged files are left out and named in ``Run.damaged``, so that they do not prevent the report.

    Args:
        directory: The run's directory.
        place: The run's name in the report.
        seed: The seed that it was planned with, for a run whose record cannot be read.
    """
    try:
        record = RunRecord.read(directory / "results.json")
    except UserError as error:
        return Run(-1 if seed is None else seed, place, "unreadable", str(error))
    damaged: list[str] = []
    config = _settings(directory / "config.yaml", damaged)
    answers = None
    predictions = _beside(directory, record.predictions, damaged)
    if record.status == "finished" and predictions is not None:
        try:
            answers = read_answers(predictions)
        except UserError as error:
            damaged.append(f"its answers are left out, {error}")
    history = _beside(directory, record.history, damaged)
    why = visible(record.error) if record.error is not None else None
    return Run(record.seed, place, record.status, why, record, config, answers, history, tuple(damaged))


def _beside(directory: Path, name: str | None, damaged: list[str]) -> Path | None:
    """Returns the file that a record names; None, and the reason in ``damaged``, if it is not one of the run's own."""
    if not name:
        return None
    if name_problem(name) is None:
        return directory / name
    damaged.append(f"{name[:60]!r}, which its record names, is left out: it is no file of the run")
    return None


def _settings(path: Path, damaged: list[str]) -> Config | None:
    """Reads the resolved settings; returns None, and adds the reason to ``damaged``, if they are not those of a run."""
    if not path.is_file():
        if os.path.lexists(path):
            damaged.append(f"its settings are left out, {path} is no file")
        return None
    try:
        config = read_config(path, written=True)
    except UserError as error:
        damaged.append(f"its settings are left out, {error}")
        return None
    node: object = config
    for key in ("model", "method", "class_path"):
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, str):
        return config
    damaged.append(f"its settings are left out, {path} names no method")
    return None
