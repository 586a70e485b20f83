"""The commands of docs/tasks.md reach their figures, which the same commands on random weights do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.offline_run import SOURCES, only_run, record, run
from tests.integration.test_pretraining_matters import random_backbone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# What each has to reach, above what random weights reach by the same command (docs/tasks.md has both figures).
LEAST = {
    "embedded/multi_label": ("test/f1_samples", 0.72),
    "embedded/regression": ("test/pearson", 0.75),
    "embedded/pairs": ("test/acc", 0.72),
}
# On random weights one is enough here: it takes as long again.
ON_RANDOM_WEIGHTS = "embedded/regression"


def command(source: str) -> list[str]:
    """The command of the documentation: whoever changes its budget changes this test's."""
    pages = re.findall(r"`peft-lightning (fit [^`]+)`", (SOURCES / "docs/tasks.md").read_text())
    (found,) = [words.split() for words in pages if source in words.split()]
    return [*found, "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]


def measured(cwd: Path, source: str, *extra: str) -> float:
    cwd.mkdir()
    outcome = run([*command(source), *extra], cwd, timeout_s=1700)
    assert outcome.code == 0, outcome.err
    value: float = record(only_run(cwd))["metrics"][LEAST[source][0]]
    return value


@pytest.mark.parametrize("source", LEAST)
def test_a_task_is_learned_by_the_command_of_its_documentation(source: str, tmp_path: Path) -> None:
    assert measured(tmp_path / "run", source) >= LEAST[source][1]


def test_random_weights_do_not_reach_that(tmp_path: Path) -> None:
    random = random_backbone(tmp_path / "random")
    found = measured(tmp_path / "run", ON_RANDOM_WEIGHTS, "--model.model_name_or_path", str(random))
    assert found < LEAST[ON_RANDOM_WEIGHTS][1] - 0.1
