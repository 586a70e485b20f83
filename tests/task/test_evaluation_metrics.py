import math

import pytest
import torch

from peft_lightning.task import SingleLabel
from peft_lightning.task.evaluation_metrics import EvaluationMetrics


def of_classes(count: int) -> EvaluationMetrics:
    return SingleLabel(tuple("abcde"[:count])).metrics()


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
    of_all = ("balanced_acc", "f1_micro", "f1_weighted", "mcc", "pr_auc", "log_loss", "brier", "ece")
    of_each = [f"{key}.{name}" for key in ("precision", "recall", "f1", "pr_auc") for name in "abc"]
    assert figures.keys() == {f"val/{key}" for key in ("loss", "acc", "f1", "auroc", *of_all, *of_each)}
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


def test_a_class_that_a_split_lacks_is_left_out_of_the_means() -> None:
    metrics = of_classes(3)
    labels = torch.tensor([0, 1, 0, 1])
    perfect = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.1, 0.7, 0.2]]
    metrics.update(logits(perfect), labels)
    figures = metrics.compute_and_reset("test")
    assert [float(figures[f"test/{name}"]) for name in ("acc", "f1", "auroc")] == [1, 1, 1]
    # A wrong answer of the class without examples: a miss of class 0, whose F1 is 2/3.
    metrics.update(logits([*perfect[:3], [0.2, 0.1, 0.7]]), torch.tensor([0, 1, 0, 0]))
    figures = metrics.compute_and_reset("test")
    assert float(figures["test/f1"]) == pytest.approx((4 / 5 + 1) / 2)


def test_a_split_of_one_class_has_no_auroc_and_an_empty_one_no_figure_at_all() -> None:
    metrics = of_classes(2)
    metrics.update(logits([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0]))
    figures = metrics.compute_and_reset("val")
    assert math.isnan(figures["val/auroc"])
    assert float(figures["val/f1"]) == pytest.approx(2 / 3)
    assert all(math.isnan(figure) for figure in metrics.compute_and_reset("val").values())


def test_a_text_without_an_answer_leaves_no_figure() -> None:
    metrics = of_classes(2)
    metrics.update(torch.tensor([[math.nan, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert all(math.isnan(figure) for figure in metrics.compute_and_reset("val").values())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_saturated_scores_still_rank(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % classes
    # The class's logit is 45 to 50, and in the wrong examples as well: only by how much tells them apart.
    scores = 5 * torch.rand(60, classes, generator=generator)
    scores[torch.arange(60), labels] += 45
    metrics = of_classes(classes)
    metrics.update(scores, labels)
    assert float(metrics.compute_and_reset("val")["val/auroc"]) == pytest.approx(1, abs=1e-6)
    sure = torch.zeros(4, classes)
    sure[:, 1] = torch.tensor([20.0, 30.0, 40.0, 50.0])
    metrics.update(sure, torch.tensor([0, 0, 1, 1]))
    assert float(metrics.compute_and_reset("val")["val/auroc"]) == 1


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_that_do_not_saturate_have_torchmetrics_figures_to_the_bit(classes: int) -> None:
    from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score

    generator = torch.Generator().manual_seed(classes)
    for rows in range(20, 220, 10):
        scores = torch.randn(rows, classes, generator=generator)
        labels = torch.arange(rows) % classes
        metrics = of_classes(classes)
        metrics.update(scores, labels)
        figures = metrics.compute_and_reset("val")
        area, f1 = MulticlassAUROC(classes), MulticlassF1Score(classes, average="macro")
        for theirs, name in ((area, "val/auroc"), (f1, "val/f1")):
            theirs.update(scores.softmax(-1), labels)
            assert torch.equal(theirs.compute(), figures[name]), name
