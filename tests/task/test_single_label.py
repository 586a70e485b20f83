import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.errors import UserError
from peft_lightning.task import FIRST, SingleLabel, find_task, problem_type_in, task_named

TWO = SingleLabel(("bad", "good"))


def test_labels_find_their_task_and_become_its_targets() -> None:
    of_both: list[list[object]] = [["n", "p", "n"], ["p"]]
    train, test = (RawSplit("a.csv", ["text"] * len(labels), labels) for labels in of_both)
    task, targets, test_targets = find_task(train, test)
    assert task == SingleLabel(("n", "p"))
    assert targets.tolist() == [0, 1, 0]
    assert test_targets is not None
    assert test_targets.tolist() == [1]
    assert find_task(train, None)[2] is None


def test_what_names_no_problem_type_is_of_the_first_task() -> None:
    assert problem_type_in({"class_names": ["a", "b"]}) == FIRST.problem_type == "single_label_classification"
    assert task_named("single_label_classification") is SingleLabel
    with pytest.raises(UserError, match="mind_reading is not known"):
        task_named("mind_reading")


def test_a_checkpoint_s_state_makes_the_same_task() -> None:
    assert SingleLabel.from_state({"method": "lora", **TWO.state()}) == TWO
    # What checkpoints held before there was another task.
    assert SingleLabel.from_state({"class_names": ["bad", "good"]}) == TWO
    empty: list[dict[str, list[str]]] = [{}, {"class_names": []}]
    for state in empty:
        with pytest.raises(KeyError):
            SingleLabel.from_state(state)


def test_smoothing_is_part_of_the_loss_that_is_trained_and_of_no_measurement() -> None:
    logits, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    losses = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(1))]
    assert float(TWO.loss(logits, targets)) == pytest.approx(sum(losses) / 2)
    smoothed = TWO.configured(None, 0.2)
    # A tenth of each target is the other class's, whose loss is larger by the difference of the logits.
    expected = (losses[0] + 0.1 * 2 + losses[1] - 0.1 * 1) / 2
    assert float(smoothed.loss(logits, targets)) == pytest.approx(expected)
    metrics = smoothed.metrics()
    metrics.update(logits, targets)
    assert float(metrics.compute_and_reset("val")["val/loss"]) == pytest.approx(sum(losses) / 2)


def test_classes_are_renamed_one_by_one() -> None:
    assert TWO.configured(["schlecht", "gut"], 0.0) == SingleLabel(("schlecht", "gut"))
    with pytest.raises(UserError, match="names 3 classes and the data has 2: bad, good"):
        TWO.configured(["a", "b", "c"], 0.0)


def test_answers_come_back_from_their_columns_as_they_were() -> None:
    answers = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], np.float32)
    targets = np.array([1, 0, 1])
    columns = TWO.columns(answers)
    assert list(columns) == ["prediction", "probability_0", "probability_1"]
    # Of two that are equal the first is chosen.
    assert columns["prediction"].tolist() == [0, 0, 1]
    task, labels, again = SingleLabel.from_columns({"label": targets, **columns}, TWO.state())
    assert task == TWO
    assert labels.tolist() == targets.tolist()
    assert (again == answers).all()
    assert TWO.score(again, targets).tolist() == [False, True, True]
    confusion = TWO.confusion(again, targets)
    assert confusion.tolist() == [[1, 0], [1, 1]]
    for label in (-1, 2):
        with pytest.raises(ValueError, match="no answers to 2 classes"):
            SingleLabel.from_columns({"label": np.array([0, 0, label]), **columns}, {})


def test_the_task_is_known_without_torch() -> None:
    code = "import sys, peft_lightning.task; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
