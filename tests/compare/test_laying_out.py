"""What is written of a comparison before anything runs."""

from pathlib import Path

import pytest

from peft_lightning.compare.laying_out import lay_out
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.stages.tuning import read_tuning
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from tests.compare.plan.test_plan import OFFLINE, STUDY


def test_a_comparison_is_tuned_from_its_first_moment_or_never(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [1], [OFFLINE])
    tuning = plan_tuning(plan, 2)
    (tmp_path / "tuned").mkdir()
    lay_out(plan, tmp_path / "tuned", tuning)
    assert read_tuning(tmp_path / "tuned") == tuning
    # Killed before its plan was written, and begun again without --tune.
    left = tmp_path / "left"
    left.mkdir()
    tuning.write(left)
    lay_out(plan, left, None)
    assert read_plan(left) == plan
    assert read_tuning(left) is None
    # A comparison that is there keeps its own.
    with pytest.raises(UserError, match="already holds a comparison"):
        lay_out(plan, tmp_path / "tuned", None)
    assert read_tuning(tmp_path / "tuned") == tuning
