"""The confusion of classes as the page has it, by value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from peft_lightning.compare.report.findings import Findings, find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.confusion import MOST_PAIRS, confusions
from peft_lightning.compare.report.study import Study
from peft_lightning.task import Task
from tests.compare.report.of_tasks import EVERY, comparison_of
from tests.compare.report.records import IA3, LORA


def made(folder: Path, name: str) -> tuple[Study, Findings, Task]:
    study = read_study(
        comparison_of(folder, EVERY[name], {"lora": replace(LORA, accuracy=0.6), "ia3": IA3}, (1, 2), 200)
    )
    findings = find(study)
    assert findings.task is not None
    return study, findings, findings.task


def counts_of(findings: Findings, label: str) -> np.ndarray:
    seeds = findings.answers[label]
    classes = range(seeds[0].answers.shape[1])
    counts: np.ndarray = sum(
        confusion_matrix(seed.labels, seed.answers.argmax(axis=1), labels=classes) for seed in seeds
    )
    return counts


@pytest.mark.slow
def test_counts_and_shares_of_few_classes_are_scikit_learn_s(tmp_path: Path) -> None:
    study, findings, task = made(tmp_path, "three classes")
    matrices, pairs = confusions(study, findings, task)
    assert pairs is None
    for matrix in matrices:
        expected = counts_of(findings, matrix["label"])
        assert [[int(cell["count"]) for cell in row["cells"]] for row in matrix["rows"]] == expected.tolist()
        shares = expected / expected.sum(axis=1, keepdims=True)
        assert [[cell["rate"] for cell in row["cells"]] for row in matrix["rows"]] == [
            [f"{100 * share:.1f} %" for share in row] for row in shares.tolist()
        ]


def test_of_many_classes_the_pairs_that_are_confused_most_are_listed(tmp_path: Path) -> None:
    study, findings, task = made(tmp_path, "twenty classes")
    matrices, pairs = confusions(study, findings, task)
    assert matrices == []
    assert pairs is not None
    counts = {label: counts_of(findings, label) for label in ("lora", "ia3")}
    wrong = np.sum(list(counts.values()), axis=0)
    np.fill_diagonal(wrong, 0)
    shown = []
    for row in pairs["rows"]:
        true, answered = (task.label_names.index(row[side]) for side in ("true", "answered"))
        for label, cell in zip(("lora", "ia3"), row["cells"], strict=True):
            count, of_class = counts[label][true, answered], counts[label][true].sum()
            assert cell == {"count": str(count), "rate": f"{100 * count / of_class:.1f} %"}
        shown.append(wrong[true, answered])
    assert shown == sorted(wrong.ravel().tolist(), reverse=True)[:MOST_PAIRS]
    assert f"{100 * sum(shown) / wrong.sum():.0f} % of all wrong answers" in pairs["sentence"]
