"""Temperatures and thresholds are those that theory and brute force give, and change no more than they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, matthews_corrcoef

from peft_lightning.errors import UserError
from peft_lightning.task import MultiLabel, Regression, SingleLabel, Task
from peft_lightning.task.calibration import THRESHOLD_METRICS, Calibration, CalibrationSettings

Array = npt.NDArray[Any]
TWO, THREE, LABELS = SingleLabel(("no", "yes")), SingleLabel(("a", "b", "c")), MultiLabel(("x", "y", "z"))
TEMPERATURE = CalibrationSettings(temperature=True)


def answered(task: Task, rows: int, sharpness: float, seed: int = 0) -> tuple[Array, Array]:
    """Logits whose probabilities are chances when they are divided by the sharpness, and labels drawn from these."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(rows, task.num_outputs)) - np.arange(task.num_outputs) % 2
    chances = task.answer(torch.from_numpy(logits)).numpy()
    if isinstance(task, MultiLabel):
        targets = (random.random(chances.shape) < chances).astype(np.int8)
    else:
        targets = (chances.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
    return (sharpness * logits).astype(np.float32), targets


def measured(task: Task, logits: Array, targets: Array) -> dict[str, float]:
    metrics = task.metrics()
    metrics.update(torch.from_numpy(logits), torch.from_numpy(targets))
    return {name: float(value) for name, value in metrics.compute_and_reset("val").items()}


@pytest.mark.parametrize("task", [TWO, THREE, LABELS])
def test_the_temperature_by_which_logits_are_too_sharp_is_found_again(task: Task) -> None:
    for sharpness in (3.0, 0.5):
        logits, targets = answered(task, 20_000, sharpness)
        found = task.fit_calibration(TEMPERATURE, logits, targets)
        assert found.calibration.temperature == pytest.approx(sharpness, rel=0.03)
        assert not found.notes


@pytest.mark.parametrize("task", [TWO, THREE, LABELS])
def test_the_temperature_is_that_of_the_lowest_log_loss(task: Task) -> None:
    logits, targets = answered(task, 300, 3.0)
    best = task.fit_calibration(TEMPERATURE, logits, targets).calibration.temperature
    assert best is not None

    def loss(temperature: float) -> float:
        tempered = task.calibrated(Calibration(temperature))
        return measured(tempered, logits, targets)["val/log_loss"]

    around = [loss(best * factor) for factor in (0.98, 1.0, 1.02)]
    assert min(around) == around[1] < loss(1.0)
    if task is THREE:
        shares = torch.from_numpy(logits.astype(np.float64) / best).softmax(dim=-1).numpy()
        assert around[1] == pytest.approx(log_loss(targets, shares, labels=[0, 1, 2]), abs=1e-6)


@pytest.mark.parametrize("task", [TWO, THREE, LABELS])
def test_on_other_rows_too_probabilities_become_better_and_no_decision_or_ranking_changes(task: Task) -> None:
    # Of three classes, one is ranked against the others by what they share, which a temperature moves.
    ranked = {"auroc", "pr_auc"} if task is THREE else set()
    calibration = task.fit_calibration(TEMPERATURE, *answered(task, 1000, 3.0)).calibration
    logits, targets = answered(task, 1000, 3.0, seed=1)
    before, after = measured(task, logits, targets), measured(task.calibrated(calibration), logits, targets)
    probabilities = {"loss", "log_loss", "brier", "ece"}
    for name in before:
        if name.partition("/")[2] in probabilities:
            assert after[name] < 0.9 * before[name]
        elif name.partition("/")[2].partition(".")[0] not in ranked:
            assert after[name] == before[name]  # to the bit
    assert after["val/loss"] == pytest.approx(after["val/log_loss"], rel=1e-5)


def test_answers_lines_and_tables_follow_the_temperature() -> None:
    logits = torch.tensor([[0.0, 4.0], [2.0, 0.0]])
    task = TWO.calibrated(Calibration(temperature=2.0))
    answers = task.answer(logits)
    assert torch.equal(answers, TWO.answer(logits / 2))
    assert task.line(answers[0].tolist()) == {"label": "yes", "probabilities": {"no": 0.119203, "yes": 0.880797}}
    labels = LABELS.calibrated(Calibration(temperature=2.0)).answer(torch.tensor([[4.0, -2.0, 0.0]]))
    assert torch.equal(labels, torch.tensor([[2.0, -1.0, 0.0]]).sigmoid())


def scores(metric: str, truth: Array, chosen: Array, of_label: bool) -> float:
    of: dict[str, Callable[[Array, Array], float]] = {
        "acc": lambda true, given: float((true == given).mean()),
        "balanced_acc": balanced_accuracy_score,
        "f1": lambda true, given: f1_score(true, given, average="binary" if of_label else "macro", zero_division=0),
        "mcc": matthews_corrcoef,
    }
    return float(of[metric](truth, chosen))


@pytest.mark.parametrize("metric", THRESHOLD_METRICS)
def test_a_threshold_is_as_good_as_the_best_of_all_that_there_are(metric: Any) -> None:
    random = np.random.default_rng(3)
    for task in (TWO, LABELS):
        for rows in (2, 25):
            logits, targets = answered(task, rows, 1.0, seed=rows)
            logits = np.round(logits)  # with ties
            truths = targets.astype(bool) if task is LABELS else np.stack([targets == 1], axis=1)
            truths[:2] = [[True] * truths.shape[1], [False] * truths.shape[1]]
            random.shuffle(truths)
            targets = truths.astype(np.int8) if task is LABELS else truths[:, 0].astype(np.int64)
            fitted = task.fit_calibration(CalibrationSettings(thresholds=metric), logits, targets).calibration
            assert fitted.thresholds is not None
            answers = task.answer(torch.from_numpy(logits)).numpy()
            columns = answers if task is LABELS else answers[:, 1:]
            for number, threshold in enumerate(fitted.thresholds):
                values, truth = columns[:, number], truths[:, number]
                tried = [scores(metric, truth, values > least, task is LABELS) for least in (*values, 0.0, 0.5)]
                found = scores(metric, truth, values > threshold, task is LABELS)
                assert found == pytest.approx(max(tried), abs=1e-12)
                if scores(metric, truth, values > 0.5, task is LABELS) == pytest.approx(found, abs=1e-12):
                    assert threshold == 0.5  # nothing is gained by another


def test_thresholds_decide_in_answers_scores_lines_columns_and_metrics() -> None:
    task = TWO.calibrated(Calibration(thresholds=(0.25,), metric="f1"))
    logits = np.log(np.array([[0.7, 0.3], [0.8, 0.2], [0.4, 0.6]], dtype=np.float32))
    targets = np.array([1, 1, 1])
    answers = task.answer(torch.from_numpy(logits)).numpy()
    assert task.score(answers, targets).tolist() == [True, False, True]
    assert [task.line(answer)["label"] for answer in answers.tolist()] == ["yes", "no", "yes"]
    assert task.answer_columns(answers)["label"].tolist() == ["yes", "no", "yes"]
    confusion = task.confusion(answers, targets)
    assert confusion is not None
    assert confusion.tolist() == [[0, 0], [1, 2]]
    found = measured(task, logits, targets)
    assert found["val/acc"] == pytest.approx(2 / 3)
    assert found["val/recall.yes"] == pytest.approx(2 / 3)
    assert found["val/log_loss"] == measured(TWO, logits, targets)["val/log_loss"]

    labels = LABELS.calibrated(Calibration(thresholds=(0.25, 0.5, 0.75), metric="f1"))
    answers = np.array([[0.3, 0.5, 0.7], [0.2, 0.6, 0.8]], dtype=np.float32)
    assert [labels.line(answer)["labels"] for answer in answers.tolist()] == [["x"], ["y", "z"]]
    assert labels.columns(answers)["prediction_0"].tolist() == [1, 0]
    assert labels.score(answers, np.array([[1, 0, 0], [1, 0, 0]])).tolist() == [1.0, 0.0]
    assert labels.named_thresholds() == {"x": 0.25, "y": 0.5, "z": 0.75}


def test_thresholds_are_chosen_on_the_probabilities_that_the_temperature_gives() -> None:
    logits, targets = answered(LABELS, 200, 3.0)
    both = LABELS.fit_calibration(CalibrationSettings(True, "f1"), logits, targets).calibration
    alone = LABELS.fit_calibration(CalibrationSettings(thresholds="f1"), logits, targets).calibration
    chosen, chosen_alone = (
        LABELS.calibrated(found).decision.of(LABELS.calibrated(found).answer(torch.from_numpy(logits)).numpy())
        for found in (both, alone)
    )
    assert both.thresholds != alone.thresholds
    assert np.array_equal(chosen, chosen_alone)


def test_without_a_best_temperature_it_stays_1_and_says_so() -> None:
    targets = np.array([0, 1] * 60)
    right = np.where(np.eye(2)[targets] > 0, 3.0, -3.0).astype(np.float32)
    for logits in (right, -right):
        found = TWO.fit_calibration(TEMPERATURE, logits, targets)
        assert found.calibration.temperature == 1.0
        assert "it stays 1" in found.notes[0]


def test_few_rows_and_labels_that_no_row_has_are_said() -> None:
    logits, targets = answered(LABELS, 20, 1.0)
    targets[:, 1] = 0
    found = LABELS.fit_calibration(CalibrationSettings(thresholds="f1"), logits, targets)
    assert found.calibration.thresholds is not None
    assert found.calibration.thresholds[1] == 0.5
    assert found.notes[0].startswith("20 validation rows are few")
    assert found.notes[1] == "all or none of the validation rows have y: the threshold stays 0.5"


@pytest.mark.parametrize(
    ("task", "asked", "targets", "said"),
    [
        (Regression(), TEMPERATURE, np.zeros(4), "temperature is for probabilities, which regression has none of"),
        (Regression(), CalibrationSettings(thresholds="f1"), np.zeros(4), "thresholds is for probabilities"),
        (THREE, CalibrationSettings(thresholds="f1"), np.arange(3), "the data has 3 classes"),
        (TWO, CalibrationSettings(thresholds="f1"), np.ones(4, dtype=int), "4 validation rows that are all yes"),
        (LABELS, CalibrationSettings(thresholds="mcc"), np.zeros((4, 3)), "of which all or none have a label"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_a_line(
    task: Task, asked: CalibrationSettings, targets: Array, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        task.check_calibration(asked, targets)


def test_a_calibration_comes_back_from_plain_values() -> None:
    for kept in (Calibration(1.5), Calibration(None, (0.25, 0.5), "f1")):
        assert Calibration.from_state(kept.state()) == kept
