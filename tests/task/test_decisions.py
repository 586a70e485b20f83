"""Tables, lines and metrics decide alike, also where a probability is the threshold itself or two are equal."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from peft_lightning.task.decisions import ClassDecision, LabelDecision


def probabilities(columns: int) -> npt.NDArray[np.float32]:
    """300 rows in steps of a tenth, so that many are equal."""
    return (np.random.default_rng(5).integers(0, 11, size=(300, columns)) / 10).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.5, float(np.float32(0.3))])
def test_two_classes_are_told_apart_by_one_threshold_everywhere(threshold: float) -> None:
    answers, decision = probabilities(2), ClassDecision(threshold)
    table = decision.of(answers)
    assert table.tolist() == [int(second > threshold) for second in answers[:, 1].tolist()]
    assert [decision.of_one(answer) for answer in answers.tolist()] == table.tolist()
    assert decision.shares(torch.from_numpy(answers)).argmax(dim=-1).tolist() == table.tolist()


def test_without_a_threshold_the_first_of_the_most_probable_classes_is_answered() -> None:
    answers, decision = probabilities(4), ClassDecision()
    table = decision.of(answers)
    assert table.tolist() == [answer.index(max(answer)) for answer in answers.tolist()]
    assert [decision.of_one(answer) for answer in answers.tolist()] == table.tolist()


@pytest.mark.parametrize("thresholds", [None, (0.5, float(np.float32(0.3)), float(np.float32(0.7)))])
def test_every_label_has_its_own_threshold_or_a_half(thresholds: tuple[float, ...] | None) -> None:
    answers, decision = probabilities(3), LabelDecision(thresholds)
    table = decision.of(answers)
    least = thresholds or (0.5,) * 3
    assert table.tolist() == [[v > t for v, t in zip(answer, least, strict=True)] for answer in answers.tolist()]
    assert [decision.of_one(answer) for answer in answers.tolist()] == table.tolist()
