"""The metric that recipes are compared by, where it is not the headline of the runs' task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.plan.folder_names import visible
from peft_lightning.compare.report.study import Study
from peft_lightning.compare.statistics import Correlation, Interval
from peft_lightning.errors import UserError
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import Metric, metric_problem


def with_metric(study: Study, key: str | None) -> Study:
    """Returns the study with the metric that was asked for.

    The plan of a comparison is made before labels are read. So one that the plan asks for and the task lacks is said,
    and the headline compared: the runs are not lost.

    Args:
        study: The runs.
        key: The key of the metric that the report was asked for; None for the plan's.

    Raises:
        UserError: If the report was asked for a metric that recipes cannot be compared by.
    """
    wanted = study.plan.metric if key is None else key
    if wanted is None or wanted == study.task.headline.key:
        return study
    labels = _of_labels(study)
    found = next((metric for metric in (*study.task.compared(), *labels) if metric.key == wanted), None)
    if found is not None:
        # A label's name is from the data.
        return replace(study, chosen=replace(found, name=visible(found.name)))
    why = metric_problem(wanted, [study.task], [metric.key for metric in labels])
    # Before a run has answered, neither its task nor its labels are known.
    if key is not None and any(run.answers is not None for _, run in study.runs):
        raise UserError(f"--metric {visible(wanted)} {why}")
    headline = study.task.headline.name
    return replace(study, notes=(*study.notes, f"--metric {visible(wanted)} {why}. So {headline} is compared."))


def _of_labels(study: Study) -> tuple[Metric, ...]:
    """Returns the metrics of single labels, by the labels' names if a run has them; none before a run has finished."""
    tasks = [
        run.answers.task
        for _, run in study.runs
        if run.answers is not None and run.answers.task.problem_type == study.task.problem_type
    ]
    named = next((task for task in tasks if task.label_names), tasks[0] if tasks else None)
    return () if named is None else named.of_labels


def scores_by(study: Study, answers: Answers) -> npt.NDArray[np.float64] | npt.NDArray[np.bool_]:
    """Returns what each answer counts in the metric that recipes are compared by, higher is better.

    Args:
        study: The runs.
        answers: The answers of one of them.

    Returns:
        The scores of the headline, or the pseudo-values of another metric, shape (N,); NaN if it is undefined.
    """
    if study.chosen is None:
        return answers.scores
    try:
        values = answers.task.pseudo_values(study.chosen.key, answers.answers, answers.labels)
    except KeyError:  # one of a label whose name this run did not keep
        return np.full(len(answers.ids), np.nan)
    return values if study.chosen.higher_is_better else -values


def ends_of(study: Study) -> Interval | None:
    """Returns the least and the greatest mean of these scores; None for those of the headline."""
    if study.chosen is None:
        return None
    if study.chosen.correlates is not None:
        return Correlation(ranks=study.chosen.correlates == "ranks")
    ends = sorted(map(study.chosen.oriented, (study.chosen.lowest, study.chosen.highest)))
    return Interval(*ends)
