import numpy as np

from peft_lightning.compare.report.disagreements import find_disagreements
from peft_lightning.runs.predictions import Answers
from peft_lightning.task import SingleLabel

LABELS = np.array([0, 1, 0, 1])


def answers(*right: bool) -> Answers:
    probabilities = np.eye(2, dtype=np.float32)[np.where(right, LABELS, 1 - LABELS)]
    return Answers(np.array([10, 20, 30, 40]), LABELS, probabilities, SingleLabel(("n", "p")))


def test_the_most_disputed_review_comes_first() -> None:
    found = find_disagreements(
        {
            "a": [answers(True, True, False, True), answers(True, True, False, False)],
            "b": [answers(True, False, False, False), answers(True, False, False, False)],
        }
    )
    assert found is not None
    assert (found.reviews, found.all_right, found.all_wrong, found.clear) == (4, 1, 1, 1)
    # Half of the seeds of one recipe do not divide the recipes.
    assert [review.id for review in found.shown] == [20]
    assert found.shown[0].right == {"a": 2, "b": 0}
    assert found.shown[0].label == 1


def test_one_recipe_does_not_disagree() -> None:
    assert find_disagreements({"a": [answers(True, True, True, True)]}) is None
