"""The figures of every task are scikit-learn's, on random and on degenerate evaluations, or null where undefined."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.task import MultiLabel, Regression, SingleLabel, Task
from peft_lightning.task.class_figures import calibration_error
from peft_lightning.task.class_metrics import log_odds

# A development requirement; where it is missing, as in an older environment, only CI insists.
metrics: Any = __import__("sklearn.metrics").metrics if os.environ.get("CI") else pytest.importorskip("sklearn.metrics")

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """scikit-learn warns of each undefined figure, which is what these tests ask it about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def figures(task: Task, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """The figures of an evaluation in batches of uneven size."""
    measured = task.metrics()
    for start, end in ((0, 3), (3, 40), (40, len(targets))):
        if len(targets[start:end]):
            measured.update(logits[start:end], targets[start:end])
    found = {name.removeprefix("val/"): float(value) for name, value in measured.compute_and_reset("val").items()}
    keys = {metric.key for metric in task.monitored}
    assert found.keys() == keys, "what can be monitored is what is measured"
    # What is called undefined beforehand, whatever the answers, is.
    assert all(math.isnan(found[key]) for key in task.undefined(targets.numpy()))
    return found


def agree(found: dict[str, float], expected: dict[str, float]) -> None:
    for key, value in expected.items():
        if math.isnan(value):
            assert math.isnan(found[key]), key
        else:
            assert found[key] == pytest.approx(value, abs=1e-6), key


def of_classes(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """What scikit-learn says; means are over the classes that there are."""
    classes, y = logits.shape[1], targets.numpy()
    p = logits.double().softmax(-1).numpy()
    predicted, labels, present = logits.softmax(-1).numpy().argmax(-1), list(range(classes)), np.unique(y)
    one = len(present) < 2
    of_each = metrics.precision_recall_fscore_support(y, predicted, labels=labels, zero_division=np.nan)
    # The order of the odds, which is that of the probabilities; saturated ones are told apart.
    odds = log_odds(logits).numpy()
    areas = [metrics.average_precision_score(y == c, odds[:, c]) if c in present else math.nan for c in labels]
    expected = {
        "acc": metrics.accuracy_score(y, predicted),
        "balanced_acc": metrics.recall_score(y, predicted, labels=present, average="macro"),
        "f1": metrics.f1_score(y, predicted, labels=present, average="macro"),
        "f1_micro": metrics.f1_score(y, predicted, labels=labels, average="micro"),
        "f1_weighted": metrics.f1_score(y, predicted, labels=labels, average="weighted"),
        "mcc": math.nan if one else metrics.matthews_corrcoef(y, predicted),
        "pr_auc": float(np.nanmean(areas)),
        "auroc": math.nan if one else np.mean([metrics.roc_auc_score(y == c, odds[:, c]) for c in present]),
        "brier": metrics.brier_score_loss(y, p, labels=labels)
        if classes > 2
        else metrics.brier_score_loss(y, p[:, 1], labels=labels),
    }
    if p.min() > 1e-15:  # below, scikit-learn cuts the loss
        expected["log_loss"] = expected["loss"] = metrics.log_loss(y, p, labels=labels)
    for c, name in zip(labels, NAMES, strict=False):
        support = c in present
        expected[f"recall.{name}"] = of_each[1][c] if support else math.nan
        expected[f"f1.{name}"] = of_each[2][c] if support else math.nan
        never = math.isnan(of_each[0][c])
        expected[f"precision.{name}"] = 0.0 if never and support else of_each[0][c]
        expected[f"pr_auc.{name}"] = areas[c]
    return expected


def drawn(seed: int, rows: int, width: int, size: float = 1.0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * size


CASES = ("random", "ties", "saturated", "a class absent", "one class", "one answer", "perfect", "two rows")


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("case", CASES)
def test_figures_of_classes_are_scikit_learn_s(case: str, classes: int) -> None:
    rows = 2 if case == "two rows" else 120
    logits = drawn(classes, rows, classes)
    targets = torch.arange(rows) % classes
    logits[torch.arange(rows), targets] += 0.7
    if case == "ties":
        logits = logits.round()
    elif case == "saturated":
        logits = logits * 60
    elif case == "a class absent":
        targets = targets % (classes - 1) if classes > 2 else torch.where(targets > 0, 1, 0)
    elif case == "one class":
        targets = torch.ones(rows, dtype=torch.long)
    elif case == "one answer":
        logits[:, 0] += 50
    elif case == "perfect":
        logits[torch.arange(rows), targets] += 10
    agree(figures(SingleLabel(NAMES[:classes]), logits, targets), of_classes(logits, targets))


def of_sets(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    y, chosen = targets.numpy(), (logits.sigmoid() > 0.5).numpy().astype(int)
    scores, p = logits.double().numpy(), logits.double().sigmoid().numpy()
    labels = range(y.shape[1])
    some = [c for c in labels if y[:, c].any()]
    told = [c for c in some if not y[:, c].all()]
    areas = [metrics.average_precision_score(y[:, c], scores[:, c]) if c in some else math.nan for c in labels]
    of_each = metrics.precision_recall_fscore_support(y, chosen, average=None, zero_division=np.nan)
    expected = {
        "f1_samples": metrics.f1_score(y, chosen, average="samples", zero_division=1),
        "subset_acc": metrics.accuracy_score(y, chosen),
        "hamming": metrics.hamming_loss(y, chosen),
        "lrap": metrics.label_ranking_average_precision_score(y, scores) if y.shape[1] > 1 else 1.0,
        "auroc": np.mean([metrics.roc_auc_score(y[:, c], scores[:, c]) for c in told]) if told else math.nan,
        "f1": metrics.f1_score(y, chosen, labels=some, average="macro") if some else math.nan,
        "f1_micro": metrics.f1_score(y, chosen, average="micro") if some else math.nan,
        "f1_weighted": metrics.f1_score(y, chosen, average="weighted") if some else math.nan,
        "pr_auc": float(np.nanmean(areas)) if some else math.nan,
        "brier": np.mean([metrics.mean_squared_error(y[:, c], p[:, c]) for c in labels]),
    }
    if p.min() > 1e-12 and p.max() < 1 - 1e-12:
        expected["log_loss"] = np.mean([metrics.log_loss(y[:, c], p[:, c], labels=[0, 1]) for c in labels])
        expected["loss"] = expected["log_loss"]
    for c, name in zip(labels, NAMES, strict=False):
        expected[f"recall.{name}"] = of_each[1][c] if c in some else math.nan
        expected[f"f1.{name}"] = of_each[2][c] if c in some else math.nan
        expected[f"precision.{name}"] = 0.0 if math.isnan(of_each[0][c]) and c in some else of_each[0][c]
        expected[f"pr_auc.{name}"] = areas[c]
    return expected


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize(
    "case", ["random", "ties", "saturated", "never", "always", "none at all", "no answer", "perfect"]
)
def test_figures_of_several_labels_are_scikit_learn_s(case: str, labels: int) -> None:
    rows = 90
    targets = (drawn(labels + 10, rows, labels) > 0.3).long()
    logits = drawn(labels, rows, labels) + targets - 0.5
    if case == "ties":
        logits = logits.round()
    elif case == "saturated":
        logits = logits * 80
    elif case == "never":
        targets[:, 0] = 0
    elif case == "always":
        targets[:, 1] = 1
    elif case == "none at all":
        targets[:] = 0
    elif case == "no answer":
        logits -= 30
    elif case == "perfect":
        logits = (targets - 0.5) * 8
    agree(figures(MultiLabel(NAMES[:labels]), logits, targets), of_sets(logits, targets))


def of_numbers(answers: np.ndarray, true: np.ndarray) -> dict[str, float]:
    from scipy import stats

    columns = list(zip(answers.reshape(len(true), -1).T, true.reshape(len(true), -1).T, strict=True))
    constant = any((b == b[0]).all() for _, b in columns)
    flat = any((a == a[0]).all() for a, _ in columns)
    return {
        "mae": metrics.mean_absolute_error(true, answers),
        "rmse": metrics.root_mean_squared_error(true, answers),
        "r2": math.nan if constant else metrics.r2_score(true, answers),
        "pearson": math.nan if constant or flat else np.mean([stats.pearsonr(a, b).statistic for a, b in columns]),
        "spearman": math.nan if constant or flat else np.mean([stats.spearmanr(a, b).statistic for a, b in columns]),
    }


@pytest.mark.parametrize("numbers", [1, 3])
@pytest.mark.parametrize("case", ["random", "ties", "large", "one label", "one answer", "perfect", "backwards"])
def test_figures_of_numbers_are_scikit_learn_s(case: str, numbers: int) -> None:
    true = drawn(numbers, 70, numbers) * 2 + 3
    logits = true + drawn(numbers + 5, 70, numbers)
    if case == "ties":
        true, logits = true.round(), logits.round()
    elif case == "large":
        true, logits = true * 1e4, logits * 1e4
    elif case == "one label":
        true[:, 0] = 3.0
    elif case == "one answer":
        logits[:] = 3.0
    elif case == "perfect":
        logits = true.clone()
    elif case == "backwards":
        logits = -true
    targets = true if numbers > 1 else true[:, 0]
    task = Regression(("x", "y", "z") if numbers > 1 else ())
    found = figures(task, logits, targets)
    expected = of_numbers(logits.double().numpy(), true.double().numpy())
    for key, value in expected.items():
        if math.isnan(value):
            assert math.isnan(found[key]), key
        else:
            assert found[key] == pytest.approx(value, abs=1e-6, rel=1e-6), key


def test_the_calibration_error_is_torchmetrics_of_15_bins_and_by_hand() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, targets = drawn(3, 300, 4, 2.0), torch.arange(300) % 4
    theirs = multiclass_calibration_error(logits.double().softmax(-1), targets, 4, n_bins=15)
    assert figures(SingleLabel(NAMES[:4]), logits, targets)["ece"] == pytest.approx(float(theirs), abs=1e-6)
    # Two answers of 0.9, one right, and one of 0.6 that is: |0.9 - 0.5| * 2/3 + |0.6 - 1| * 1/3.
    assert calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])) == pytest.approx(0.4)


@pytest.mark.parametrize("task", [SingleLabel(("a", "b")), MultiLabel(("a", "b")), Regression()])
def test_an_empty_evaluation_and_an_answer_that_is_no_number_leave_every_figure_undefined(task: Task) -> None:
    measured = task.metrics()
    keys = {metric.validation for metric in task.monitored}
    for rows in (0, 2):
        if rows:
            logits = torch.full((rows, task.num_outputs), math.nan)
            targets = torch.zeros(rows, 2) if isinstance(task, MultiLabel) else torch.zeros(rows)
            measured.update(logits, targets.long() if isinstance(task, SingleLabel) else targets)
        found = measured.compute_and_reset("val")
        assert found.keys() == keys
        assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    "task", [SingleLabel(("a", "b", "c")), MultiLabel(("a", "b", "c")), Regression(("x", "y", "z"))]
)
def test_the_headline_is_the_mean_of_the_scores_that_are_paired(task: Task) -> None:
    logits = drawn(1, 50, 3)
    targets: torch.Tensor = torch.arange(50) % 3
    if not isinstance(task, SingleLabel):
        targets = (drawn(2, 50, 3) > 0).long() if isinstance(task, MultiLabel) else drawn(2, 50, 3)
    scores = task.score(task.answer(logits).numpy(), targets.numpy())
    assert scores.shape == (50,)
    mean = task.headline.oriented(float(scores.mean()))
    assert figures(task, logits, targets)[task.headline.key] == pytest.approx(mean, abs=1e-6)


def test_every_metric_knows_which_direction_is_better() -> None:
    lower = {"loss", "log_loss", "brier", "ece", "hamming", "mae", "rmse"}
    for task in (SingleLabel(("a", "b")), MultiLabel(("a", "b")), Regression()):
        for metric in task.monitored:
            assert metric.higher_is_better == (metric.key not in lower), metric.key
            assert task.metric(metric.validation).higher_is_better == metric.higher_is_better


def test_labels_whose_names_no_tracker_takes_get_keys_of_their_own() -> None:
    task = SingleLabel(("sci-fi / fantasy", "sci-fi, fantasy", "?", "micro"))
    keys = [metric.key for metric in task.of_labels if metric.key.startswith("recall")]
    assert keys == ["recall.sci-fi_fantasy_0", "recall.sci-fi_fantasy_1", "recall.label_2", "recall.micro"]
