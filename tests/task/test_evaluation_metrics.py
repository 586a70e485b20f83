import math

import pytest
import torch

from peft_lightning.task import SingleLabel
from peft_lightning.task.evaluation_metrics import EvaluationMetrics


def of_classes(count: int) -> EvaluationMetrics:
    return SingleLabel(tuple("abc"[:count])).metrics()


def logits(rows: list[list[float]]) -> torch.Tensor:
    """Scores whose softmax is the given probabilities."""
    return torch.tensor(rows).log()


def test_three_classes_by_hand() -> None:
    metrics = of_classes(3)
    labels = torch.tensor([0, 0, 1, 1, 2])
    probabilities = [
        [0.7, 0.2, 0.1],  # right
        [0.3, 0.5, 0.2],  # 1 instead of 0
        [0.1, 0.8, 0.1],  # right
        [0.2, 0.6, 0.2],  # right
        [0.5, 0.1, 0.4],  # 0 instead of 2
    ]
    # In batches of different sizes: no figure is a mean of batches.
    metrics.update(logits(probabilities[:1]), labels[:1])
    metrics.update(logits(probabilities[1:]), labels[1:])
    figures = metrics.compute_and_reset("val")
    assert figures.keys() == {"val/loss", "val/acc", "val/f1", "val/auroc"}
    assert float(figures["val/acc"]) == pytest.approx(3 / 5)
    assert float(figures["val/loss"]) == pytest.approx(-sum(map(math.log, (0.7, 0.3, 0.8, 0.6, 0.4))) / 5, rel=1e-5)
    # F1 = 2tp / (2tp + fp + fn): class 0 has tp 1, fp 1, fn 1; class 1 tp 2, fp 1; class 2 fn 1.
    assert float(figures["val/f1"]) == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    # Each class against the others: pairs ordered rightly of all pairs, 5 of 6, 6 of 6, 4 of 4.
    assert float(figures["val/auroc"]) == pytest.approx((5 / 6 + 1 + 1) / 3, rel=1e-5)


def test_two_classes_by_hand() -> None:
    metrics = of_classes(2)
    metrics.update(logits([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]]), torch.tensor([0, 0, 1, 1]))
    figures = metrics.compute_and_reset("test")
    assert float(figures["test/acc"]) == pytest.approx(3 / 4)
    assert float(figures["test/f1"]) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert float(figures["test/auroc"]) == pytest.approx(3 / 4)


def test_an_evaluation_starts_afresh() -> None:
    metrics = of_classes(2)
    metrics.update(logits([[0.9, 0.1]]), torch.tensor([1]))
    metrics.compute_and_reset("val")
    metrics.update(logits([[0.9, 0.1]]), torch.tensor([0]))
    figures = metrics.compute_and_reset("val")
    assert float(figures["val/acc"]) == 1
    assert float(figures["val/loss"]) == pytest.approx(-math.log(0.9), rel=1e-5)


def test_metrics_are_no_part_of_a_checkpoint() -> None:
    metrics = of_classes(2)
    metrics.update(logits([[0.9, 0.1]]), torch.tensor([1]))
    assert metrics.state_dict() == {}
