"""What the test says of each class or label: how many texts have it, and how well each recipe finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report.findings import Findings
from peft_lightning.compare.report.label_words import label_in_short
from peft_lightning.compare.report.leaders import Leaders

# The standard error of a recall of 0.8 is 7 points on so many texts.
FEW = 30
# A picture of more rows is longer than a screen.
MOST_LABELS = 24


@dataclass(frozen=True)
class LabelRow:
    """A class or label.

    Args:
        number: Its number.
        name: Its name on one line.
        test: Number of test texts that have it.
        train: Number of training texts that have it; None if that is not recorded.
        f1: Its F1 by the recipe's label, means over the seeds; NaN if no test text has it.
        scores: Mean score of the texts that have it, by the recipe's label; NaN if there are none.
    """

    number: int
    name: str
    test: int
    train: int | None
    f1: dict[str, float]
    scores: dict[str, float]

    @property
    def few(self) -> bool:
        """Whether so few test texts have it that its figures are uncertain."""
        return self.test < FEW


def label_rows(leaders: Leaders, findings: Findings) -> list[LabelRow]:
    """Returns a row for each class or label, those of most test texts first; empty if the task has neither.

    Args:
        leaders: The recipes.
        findings: The records, for the training texts.
    """
    support = leaders.task.support(leaders.labels)
    if support is None:
        return []
    f1: dict[str, npt.NDArray[np.float64]] = {}
    for leader in leaders.shown:
        counts = [seed.task.label_counts(seed.answers, seed.labels) for seed in leader.answers]
        f1[leader.label] = np.mean([counted.f1 for counted in counts if counted is not None], axis=0)
    means = {leader.label: leader.scores for leader in leaders.shown}
    train = training_labels(leaders, findings, len(support))[0]
    rows = []
    for number in np.argsort(-support, kind="stable").tolist():
        having = leaders.task.having(leaders.labels, number)
        rows.append(
            LabelRow(
                number,
                label_in_short(leaders.task, number),
                int(support[number]),
                None if train is None else train[number],
                {label: float(values[number]) for label, values in f1.items()},
                {label: float(values[having].mean()) if having.any() else np.nan for label, values in means.items()},
            )
        )
    return rows


def training_labels(leaders: Leaders, findings: Findings, count: int) -> tuple[list[int] | None, int, list[str]]:
    """Returns the training texts with each class or label, of the first recipe whose records have them.

    Args:
        leaders: The recipes.
        findings: The records.
        count: Number of classes or labels.

    Returns:
        The counts, or None; the number of training texts; and the recipes that trained on other texts.
    """
    found: dict[str, tuple[list[int], int]] = {}
    for leader in leaders.shown:
        for record in findings.counted.get(leader.label, ()):
            data = record.dataset
            if data is not None and data.train_labels is not None and len(data.train_labels) == count:
                found.setdefault(leader.label, (data.train_labels, data.n_train))
    if not found:
        return None, 0, []
    first = next(iter(found.values()))
    return first[0], first[1], [label for label, counts in found.items() if counts != first]


def hardest(rows: list[LabelRow]) -> list[LabelRow]:
    """Returns the rows that a picture shows, in their order: all of a few, of many those with the lowest F1."""
    known = [row for row in rows if row.test]
    worst = sorted(known, key=lambda row: float(np.mean(list(row.f1.values()))))[:MOST_LABELS]
    chosen = {row.number for row in worst}
    return [row for row in known if row.number in chosen]


def few_in_words(rows: list[LabelRow], plural: str) -> list[str]:
    """Returns warnings about classes or labels that few test texts have.

    Args:
        rows: The classes or labels.
        plural: What the field calls several.
    """
    sentences = []
    rare = sorted((row for row in rows if 0 < row.test < FEW), key=lambda row: row.test)
    if rare:
        rarest = rare[0]
        if rarest.test == 1:
            clause = "1 test text, which is all of its recall"
        else:
            clause = f"{rarest.test} test texts, each of which is {100 / rarest.test:.0f} points of its recall"
        sentences.append(f"{rarest.name} has {clause}: its figures are uncertain.")
    if len(rare) > 1:
        others = [row.name for row in rare[1:6]]
        more = f"{len(rare) - 6} more" if len(rare) > 6 else ""
        verb = "has" if len(rare) == 2 else "have"
        sentences.append(f"{listing([*others, more] if more else others)} {verb} fewer than {FEW} too.")
    absent = [row.name for row in rows if not row.test]
    if absent:
        named = absent[0] if len(absent) == 1 else f"{len(absent)} {plural}"
        whose = "its" if len(absent) == 1 else "their"
        sentences.append(f"No test text has {named}, so {whose} figures are undefined.")
    untaught = [row.name for row in rows if row.train == 0]
    if untaught:
        named = untaught[0] if len(untaught) == 1 else f"{len(untaught)} {plural}"
        sentences.append(f"No training text has {named}, which no recipe can have learned.")
    return sentences
