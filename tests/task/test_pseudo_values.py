"""The mean of a metric's pseudo-values is the figure that runs record, and each is what its example moves it by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.task import MultiLabel, Regression, SingleLabel, Task

Drawn = tuple[Task, torch.Tensor, torch.Tensor]


def classes(rows: int, ties: bool, names: tuple[str, ...] = ("a", "b", "c")) -> Drawn:
    logits, targets = torch.randn(rows, len(names)), torch.randint(len(names), (rows,))
    logits[torch.arange(rows), targets] += 0.8
    return SingleLabel(names), logits.mul(2).round() / 2 if ties else logits, targets


def two(rows: int, ties: bool) -> Drawn:
    return classes(rows, ties, ("no", "yes"))


def sets(rows: int, ties: bool) -> Drawn:
    targets = (torch.rand(rows, 4) < torch.tensor([0.5, 0.3, 0.2, 0.1])).to(torch.int8)
    targets[0] = 1
    logits = torch.randn(rows, 4) + 1.5 * targets - 0.7
    return MultiLabel(("a", "b", "c", "d")), logits.round() if ties else logits, targets


def numbers(rows: int, ties: bool, width: int = 1) -> Drawn:
    targets = torch.randn(rows, width)
    logits = targets + torch.randn(rows, width)
    if ties:
        targets, logits = targets.mul(2).round(), logits.mul(2).round()
    names = tuple(f"n{number}" for number in range(width)) if width > 1 else ()
    return Regression(names), logits, targets if width > 1 else targets[:, 0]


def two_numbers(rows: int, ties: bool) -> Drawn:
    return numbers(rows, ties, 2)


TASKS = (classes, two, sets, numbers, two_numbers)


def recorded(task: Task, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    metrics = task.metrics()
    metrics.update(logits, targets)
    return {key.removeprefix("test/"): float(value) for key, value in metrics.compute_and_reset("test").items()}


def pseudo_values(task: Task, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    answers = task.answer(logits).numpy()
    keys = [metric.key for metric in (*task.compared(), *task.of_labels)]
    return {key: task.pseudo_values(key, answers, targets.numpy()) for key in keys}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("drawn", TASKS)
def test_the_mean_is_the_recorded_figure(drawn: Callable[[int, bool], Drawn], ties: bool) -> None:
    torch.manual_seed(0)
    task, logits, targets = drawn(60, ties)
    figures = recorded(task, logits, targets)
    for key, values in pseudo_values(task, logits, targets).items():
        assert values.shape == (60,)
        assert values.mean() == pytest.approx(figures[key], abs=2e-6), key


def test_every_metric_but_the_calibration_error_can_be_compared() -> None:
    for task in (SingleLabel, MultiLabel, Regression):
        assert {metric.key for metric in task.measured()} - {metric.key for metric in task.compared()} <= {"ece"}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("drawn", TASKS)
def test_each_is_what_one_more_of_its_example_moves_the_metric_by(
    drawn: Callable[[int, bool], Drawn], ties: bool
) -> None:
    """Among very many copies of all examples one more of one is a derivative."""
    torch.manual_seed(1)
    rows, copies = 25, 200
    task, logits, targets = drawn(rows, ties)
    every = torch.arange(rows).repeat(copies)
    values = pseudo_values(task, logits, targets)
    # Metrics that are computed in 32 bits do not show so small a step: these are means, or of the same functions.
    coarse = {"acc", "f1", "auroc"} if isinstance(task, SingleLabel) else set()
    before = recorded(task, logits[every], targets[every])
    for example in (0, 7, 24):
        more = torch.cat([every, torch.tensor([example])])
        after = recorded(task, logits[more], targets[more])
        for key in values.keys() - coarse:
            moved = (after[key] - before[key]) * len(more)
            assert values[key][example] - values[key].mean() == pytest.approx(moved, rel=0.02, abs=0.02), key


def test_a_mean_s_pseudo_values_are_the_scores() -> None:
    torch.manual_seed(2)
    task, logits, targets = sets(30, False)
    answers = task.answer(logits).numpy()
    assert np.array_equal(
        task.pseudo_values("f1_samples", answers, targets.numpy()), task.score(answers, targets.numpy())
    )
    number, logits, targets = numbers(30, False)
    errors = np.abs(number.answer(logits).numpy().astype(np.float64) - targets.numpy())
    assert number.pseudo_values("mae", number.answer(logits).numpy(), targets.numpy()) == pytest.approx(errors)


def test_an_undefined_metric_has_no_values_and_an_unknown_one_is_refused() -> None:
    answers = np.tile([0.2, 0.8], (5, 1)).astype(np.float32)
    one_class, task = np.ones(5, dtype=np.int64), SingleLabel(("no", "yes"))
    for key in ("mcc", "auroc", "f1.no", "recall.no", "pr_auc.no"):
        assert np.isnan(task.pseudo_values(key, answers, one_class)).all(), key
    assert np.isnan(Regression().pseudo_values("pearson", np.ones(5), np.arange(5.0))).all()
    assert np.isnan(Regression(("x", "y")).pseudo_values("r2", np.ones((5, 2)), np.eye(5)[:, [0, 4]] * [1, 0])).all()
    empty = np.zeros((5, 2), np.int8)
    for key in ("f1", "f1_micro", "f1_weighted", "pr_auc", "auroc", "f1.a"):
        assert np.isnan(MultiLabel(("a", "b")).pseudo_values(key, answers, empty)).all(), key
    for unknown in ("rmse", "f1.maybe", "ece", "recall"):
        with pytest.raises(KeyError):
            task.pseudo_values(unknown, answers, one_class)


def test_saturated_probabilities_leave_finite_values() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0], [200.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    targets = torch.tensor([1, 1, 0, 1, 0])
    for task, wanted in ((SingleLabel(("no", "yes")), targets), (MultiLabel(("a", "b")), torch.eye(2)[targets])):
        for key, values in pseudo_values(task, logits, wanted).items():
            assert np.isfinite(values).all(), key
    assert SingleLabel(("no", "yes")).pseudo_values("mcc", np.tile([0.2, 0.8], (4, 1)), np.array([0, 1, 1, 0])) == (
        pytest.approx(np.zeros(4))
    )
