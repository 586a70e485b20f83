from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.comparison import devices_for, lay_out, run_list
from peft_lightning.compare.plan import build_plan, read_plan
from peft_lightning.compare.tuning import read_tuning
from peft_lightning.compare.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from tests.compare.test_plan import OFFLINE, STUDY, recipe, resolved


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


def test_a_chosen_rate_reaches_the_runs_of_its_recipe_and_no_other(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [7], [OFFLINE])
    plan.write(tmp_path)
    full, lora = run_list(plan, tmp_path, {"lora": 0.00316})
    assert resolved(full.words)["model"]["learning_rate"] == 2e-5
    config = resolved(lora.words)
    assert config["model"]["learning_rate"] == 0.00316
    assert config["seed_everything"] == 7
    assert lora.title == "lora seed 7"
    assert Path(config["trainer"]["default_root_dir"]) == tmp_path / "runs/lora/seed_7"


def test_a_recipe_that_names_the_cpu_is_not_spread_over_gpus(tmp_path: Path) -> None:
    name = recipe(tmp_path / "cpu.yaml")
    content = yaml.safe_load(Path(name).read_text()) | {"trainer": {"accelerator": "cpu"}}
    Path(name).write_text(yaml.safe_dump(content))
    assert devices_for(build_plan([name], [1]), 1) == [None]
    with pytest.raises(UserError, match="accelerator is cpu"):
        devices_for(build_plan([name], [1]), 2)
