"""Which runs were tested on the same reviews, so that their answers can be paired."""

from __future__ import annotations

from collections.abc import Sequence

from peft_lightning.runs.predictions import Answers
from peft_lightning.runs.record import DatasetFigures, RunRecord

Tested = tuple[RunRecord, Answers]


def of_the_same_reviews(tested: Sequence[Tested]) -> list[Tested]:
    """Returns the largest group of runs that were tested on the same reviews; of groups of one size the first."""
    groups: list[list[Tested]] = []
    for run in tested:
        group = next((group for group in groups if _same_reviews(group[0], run)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return max(groups, key=len, default=[])


def _same_reviews(run: Tested, other: Tested) -> bool:
    if not run[1].of_same_reviews(other[1]):
        return False
    first, second = run[0].dataset, other[0].dataset
    if first is None or second is None or first.fingerprint == second.fingerprint:
        return True
    # The fingerprint covers the training reviews too. If their numbers differ, the test reviews can still be the same.
    # If the numbers are equal, the texts differ.
    return first.source == second.source and _sizes(first) != _sizes(second)


def _sizes(dataset: DatasetFigures) -> tuple[int, int]:
    return dataset.n_train, dataset.n_val
