"""What each class or label counts, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, multilabel_confusion_matrix

from peft_lightning.task import MultiLabel, Regression, SingleLabel

RNG = np.random.default_rng(7)


def test_f1_of_each_class_is_scikit_learn_s_and_undefined_without_a_text() -> None:
    task = SingleLabel(("a", "b", "c", "d"))
    targets, answers = RNG.integers(0, 3, 200), RNG.dirichlet(np.ones(4), 200)
    counts = task.label_counts(answers, targets)
    expected = f1_score(targets, answers.argmax(axis=1), labels=range(4), average=None, zero_division=0)
    assert counts.f1[:3] == pytest.approx(expected[:3], abs=1e-12)
    assert np.isnan(counts.f1[3])
    assert counts.support.tolist() == task.support(targets).tolist() == np.bincount(targets, minlength=4).tolist()
    assert [int(task.having(targets, number).sum()) for number in range(4)] == counts.support.tolist()


def test_f1_of_each_label_is_scikit_learn_s() -> None:
    task = MultiLabel(("a", "b", "c"))
    targets, answers = RNG.integers(0, 2, (200, 3)).astype(np.int8), RNG.random((200, 3))
    counts = task.label_counts(answers, targets)
    assert counts.f1 == pytest.approx(f1_score(targets, answers > 0.5, average=None), abs=1e-12)
    matrices = multilabel_confusion_matrix(targets, answers > 0.5)
    assert counts.hits.tolist() == matrices[:, 1, 1].tolist()
    assert counts.named.tolist() == matrices[:, :, 1].sum(axis=1).tolist()
    assert counts.support.tolist() == task.support(targets).tolist() == targets.sum(axis=0).tolist()
    assert [int(task.having(targets, number).sum()) for number in range(3)] == counts.support.tolist()
    assert task.answer_in_words([0.9, 0.1, 0.6]) == "a, c"


def test_numbers_have_no_labels_and_classes_no_numbers() -> None:
    values = np.array([1.5, 2.0], np.float32)
    assert Regression().support(values) is None
    assert Regression().label_counts(values, values) is None
    numbers = Regression(("x", "y")).as_numbers(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    assert numbers.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert Regression().as_numbers(values).tolist() == [[1.5], [2.0]]
    assert Regression(("x", "y")).answer_in_words([1.23456, 2.0]) == "x 1.23, y 2"
    assert SingleLabel(("a", "b")).as_numbers(values) is None
