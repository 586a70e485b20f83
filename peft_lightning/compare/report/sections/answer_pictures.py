"""The sections that are drawn from the answers to the test: each is left out where it has no meaning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.label_words import plural
from peft_lightning.compare.report.leaders import Leaders, find_leaders
from peft_lightning.compare.report.sections.by_label import by_label, shares
from peft_lightning.compare.report.sections.by_length import by_length
from peft_lightning.compare.report.sections.numbers import numbers
from peft_lightning.compare.report.study import Study
from peft_lightning.task import Metric, Task

Describe = Callable[[Leaders], dict[str, Any] | None]


def headings(task: type[Task]) -> tuple[tuple[str, str], ...]:
    """Returns the id and heading of each section, in their order.

    Args:
        task: The study's task.
    """
    word = task.label_word
    return (
        ("shares", f"Shares of {plural(word)}"),
        ("labels", f"By {word}"),
        ("numbers", "Answers"),
        ("lengths", "By length"),
    )


def describe_answers(
    study: Study, findings: Findings, labelled: Task | None, attempts: Attempts
) -> dict[str, dict[str, Any] | None]:
    """Returns the content of each section by its id; None of one without meaning for the task, or without answers.

    Args:
        study: The runs; of many recipes ranked.
        findings: Their answers.
        labelled: The answers' task, with the names of labels if those are known.
        attempts: Makes the sections.
    """
    metric: Metric = study.task.headline
    sections: dict[str, tuple[str, Describe]] = {
        "shares": ("The shares of classes and labels are", lambda leaders: shares(leaders, findings)),
        "labels": ("The figures by class or label are", lambda leaders: by_label(leaders, findings, metric)),
        "numbers": ("The answers in numbers are", numbers),
        "lengths": ("The figures by length are", lambda leaders: by_length(study, leaders, metric)),
    }
    return {
        name: attempts.made(name, what, partial(_made, study, findings, labelled, make), None)
        for name, (what, make) in sections.items()
    }


def _made(study: Study, findings: Findings, labelled: Task | None, make: Describe) -> dict[str, Any] | None:
    leaders = find_leaders(study, findings, labelled)
    return None if leaders is None else make(leaders)
