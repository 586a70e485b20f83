"""The runs that a comparison compares."""

from pathlib import Path

from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.compared_runs import run_list
from tests.compare.plan.test_plan import OFFLINE, STUDY, resolved


def test_a_chosen_rate_reaches_the_runs_of_its_recipe_and_no_other(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [7], [OFFLINE])
    plan.write(tmp_path)
    full, lora = run_list(Part(plan, tmp_path), {"lora": 0.00316})
    assert resolved(full.settings)["model"]["learning_rate"] == 2e-5
    config = resolved(lora.settings)
    assert config["model"]["learning_rate"] == 0.00316
    assert config["seed_everything"] == 7
    assert lora.title == "lora seed 7"
    assert Path(config["trainer"]["default_root_dir"]) == tmp_path / "runs/lora/seed_7"
