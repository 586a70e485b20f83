"""The losses that are trained: weighted, focal, smoothed; the losses that are measured are none of these."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from peft_lightning.engine.micro_batches import micro_batches
from peft_lightning.errors import UserError
from peft_lightning.task import MultiLabel, SingleLabel, Task

NAMES = ("a", "b", "c")
CLASSES = np.array([0] * 6 + [1] * 3 + [2])
SETS = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.int8)


def single(**settings: Any) -> SingleLabel:
    return SingleLabel(NAMES).fitted(CLASSES).configured(None, settings.pop("label_smoothing", 0.0), **settings)


def multi(**settings: Any) -> MultiLabel:
    return MultiLabel(NAMES[:2]).fitted(SETS).configured(None, 0.0, **settings)


def batch(width: int, rows: int = 11) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(width))


def test_balanced_weights_are_scikit_learn_s_and_are_1_on_average_over_the_training_rows() -> None:
    task = single(class_weights="balanced")
    # n / (classes * count).
    assert task.weights == pytest.approx((10 / 18, 10 / 9, 10 / 3))
    assert np.mean([task.weights[c] for c in CLASSES]) == pytest.approx(1)  # type: ignore[index]
    # A class that the subset lacks neither counts nor divides by 0.
    assert SingleLabel(NAMES).fitted(CLASSES[:9]).configured(None, 0.0, "balanced").weights == pytest.approx(
        (9 / 12, 9 / 6, 1.0)
    )


@pytest.mark.parametrize("given", [[1, 2, 4], [10, 20, 40], {"b": 2.0, "c": 4.0}])
def test_stated_weights_are_ratios(given: Any) -> None:
    mean = (6 * 1 + 3 * 2 + 1 * 4) / 10
    assert single(class_weights=given).weights == pytest.approx((1 / mean, 2 / mean, 4 / mean))


def test_names_that_yaml_reads_as_numbers_or_truth_values_are_those_of_the_classes() -> None:
    counts = np.array([0, 1, 1, 0])
    by_name: Any
    for by_name in ({True: 3.0, False: 1.0}, {"true": 3.0}):
        task = SingleLabel(("no", "yes")).fitted(counts).configured(None, 0.0, by_name)
        assert task.weights == pytest.approx((0.5, 1.5))
    by_number: Any = {1: 3.0}
    assert SingleLabel(("0", "1")).fitted(counts).configured(None, 0.0, by_number).weights == pytest.approx((0.5, 1.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], r"class_weights has 2 weights and the data 3 classes \(a, b, c\)"),
        ({"a": 1, "z": 2}, "class_weights names 'z', and the classes are a, b, c: mend"),
        ([1, 0, 2], "class_weights has 0: a weight is a number above 0"),
        ({"a": -1.0}, "class_weights has -1"),
        ([1, math.nan, 2], "class_weights has nan"),
    ],
)
def test_weights_that_are_not_those_of_the_classes_are_one_line(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        single(class_weights=given)


def test_a_weighted_loss_is_divided_by_the_number_of_examples() -> None:
    logits, targets = batch(3), torch.arange(11) % 3
    task = single(class_weights="balanced")
    weights = torch.tensor(task.weights)
    losses = F.cross_entropy(logits, targets, reduction="none") * weights[targets]
    assert float(task.loss(logits, targets)) == pytest.approx(float(losses.sum()) / 11, rel=1e-6)
    smoothed = single(class_weights="balanced", label_smoothing=0.1)
    theirs = F.cross_entropy(logits, targets, weights, reduction="sum", label_smoothing=0.1)
    assert float(smoothed.loss(logits, targets)) == pytest.approx(float(theirs) / 11, rel=1e-6)


def test_focal_loss_is_that_of_its_paper() -> None:
    logits, targets = batch(3), torch.arange(11) % 3
    p = logits.softmax(-1)[torch.arange(11), targets]
    assert float(single(focal_gamma=2.0).loss(logits, targets)) == pytest.approx(
        float((-((1 - p) ** 2) * p.log()).mean()), rel=1e-5
    )
    weights = torch.tensor(single(class_weights="balanced").weights)[targets]
    both = single(focal_gamma=2.0, class_weights="balanced")
    assert float(both.loss(logits, targets)) == pytest.approx(
        float((-weights * (1 - p) ** 2 * p.log()).mean()), rel=1e-5
    )
    sets = (batch(2) > 0).long()
    q = torch.where(sets > 0, batch(2).sigmoid(), 1 - batch(2).sigmoid())
    assert float(multi(focal_gamma=0.5).loss(batch(2), sets)) == pytest.approx(
        float((-((1 - q) ** 0.5) * q.log()).mean()), rel=1e-5
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_an_answer_that_is_certain_has_a_focal_gradient(gamma: float) -> None:
    logits = torch.tensor([[90.0, -90.0, 0.0], [-90.0, 90.0, 0.0]], requires_grad=True)
    single(focal_gamma=gamma).loss(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    sets = torch.tensor([[90.0, -90.0]], requires_grad=True)
    multi(focal_gamma=gamma).loss(sets, torch.tensor([[1, 1]])).backward()
    assert sets.grad is not None
    assert sets.grad.isfinite().all()


def test_labels_are_weighed_against_how_often_they_occur() -> None:
    # The first label is in 3 of 4 rows, the second in 1: sides of n / 2 count the same.
    balanced: tuple[Any, Any] = (pytest.approx((4 / 6, 4 / 2)), pytest.approx((4 / 2, 4 / 6)))
    assert multi(class_weights="balanced").weights == balanced
    # A row with the second label counts three times one without, and the mean over the rows is 1.
    task = multi(class_weights={"b": 3.0})
    weights: tuple[Any, Any] = (pytest.approx((1, 3 / 1.5)), pytest.approx((1, 1 / 1.5)))
    assert task.weights == weights
    logits, sets = batch(2), (batch(2).flip(0) > 0).long()
    theirs = F.binary_cross_entropy_with_logits(
        logits, sets.float(), pos_weight=torch.tensor([1.0, 3.0]), reduction="none"
    )
    assert float(task.loss(logits, sets)) == pytest.approx(
        float((theirs * torch.tensor([1, 1 / 1.5])).mean()), rel=1e-6
    )
    # A label that all rows have, or none, is told from nothing.
    all_or_none = MultiLabel(NAMES[:2]).fitted(np.array([[1, 0], [1, 0]], np.int8)).configured(None, 0.0, "balanced")
    assert all_or_none.weights == ((1.0, 1.0), (1.0, 1.0))


TASKS = [
    single(class_weights="balanced"),
    single(class_weights="balanced", focal_gamma=2.0),
    single(class_weights="balanced", label_smoothing=0.1),
    multi(class_weights="balanced"),
    multi(class_weights=[1.0, 5.0], focal_gamma=1.0),
]


@pytest.mark.parametrize("task", TASKS)
def test_parts_of_a_batch_add_up_to_its_loss_as_micro_batches_processes_and_accumulation_need_it(task: Task) -> None:
    width = task.num_outputs
    targets = torch.arange(11) % width if isinstance(task, SingleLabel) else (batch(width).flip(0) > 0.5).long()
    whole = {"logits": batch(width).requires_grad_(), "labels": targets}
    (expected,) = torch.autograd.grad(task.loss(whole["logits"], whole["labels"]), whole["logits"])
    parts = [(part, share) for part, share in micro_batches(whole, 4)]
    assert [len(part["labels"]) for part, _ in parts] == [4, 4, 3]
    total = sum(task.loss(part["logits"], part["labels"]) * share for part, share in parts)
    assert isinstance(total, torch.Tensor)
    (found,) = torch.autograd.grad(total, whole["logits"])
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_that_was_first_computed_in_an_evaluation_can_be_trained_and_leaves_its_inputs_alone(task: Task) -> None:
    width = task.num_outputs
    targets = torch.arange(11) % width if isinstance(task, SingleLabel) else (batch(width).flip(0) > 0.5).long()
    logits = batch(width)
    with torch.inference_mode():
        before = float(task.loss(logits, targets))
    trained = logits.clone().requires_grad_()
    loss = task.loss(trained, targets)
    loss.backward()
    assert loss.item() == before == float(task.loss(logits, targets))
    assert torch.equal(trained.detach(), batch(width))


@pytest.mark.parametrize("task", TASKS)
def test_the_losses_that_are_measured_are_plain(task: Task) -> None:
    width = task.num_outputs
    is_single = isinstance(task, SingleLabel)
    targets = torch.arange(11) % width if is_single else (batch(width).flip(0) > 0.5).long()
    measured = task.metrics()
    measured.update(batch(width), targets)
    plain = (
        F.cross_entropy(batch(width), targets)
        if is_single
        else F.binary_cross_entropy_with_logits(batch(width), targets.float())
    )
    assert float(measured.compute_and_reset("val")["val/loss"]) == pytest.approx(float(plain), rel=1e-6)


def test_settings_that_a_task_lacks_or_that_contradict_are_one_line() -> None:
    with pytest.raises(UserError, match=r"model.focal_gamma and model.label_smoothing"):
        single(focal_gamma=1.0, label_smoothing=0.1)
    for make in (single, multi):
        with pytest.raises(UserError, match=r"model.huber_delta is for numbers, which .* has none of"):
            make(huber_delta=1.0)
    with pytest.raises(UserError, match=r"model.label_smoothing smooths classes, which multi_label_classification"):
        MultiLabel(NAMES).configured(None, 0.1)
    with pytest.raises(UserError, match="names 1 labels and the data has 2: a, b"):
        MultiLabel(NAMES[:2]).configured(["x"], 0.0)


def test_a_task_that_only_answers_needs_no_counts_for_its_weights() -> None:
    for task in (SingleLabel(NAMES), MultiLabel(NAMES)):
        assert task.configured(None, 0.0, "balanced") == task
