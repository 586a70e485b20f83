"""The tournament's calls of `compare`, and at a tiny size the whole of it."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tournament
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from side_by_side.report_copies import FILES

ROOT = Path(__file__).resolve().parents[2]


def test_every_recipe_takes_part_once_with_the_same_budget() -> None:
    paths = tournament.recipes()
    assert len(paths) == 6 + len(list((ROOT / "configs/peft").glob("*.yaml"))) >= 41
    plan = build_plan(paths, [1, 2, 3, 4, 5], (), ["--model.model_name_or_path", "embedded"], "lora")
    tuning = plan_tuning(plan, 5)
    assert plan.baseline == "lora"
    for label, tries in tuning.tries.items():
        rates = [one.learning_rate for one in tries]
        assert len(rates) == 5, label
        assert all(3.1 < high / low < 3.25 for low, high in itertools.pairwise(rates)), label


def test_without_sharing_the_first_comparison_has_the_costs_and_no_other_is_needed() -> None:
    assert [stage.name for stage in tournament.stages((), shared=False)] == ["3000", "300"]
    stages = tournament.stages((), shared=True)
    assert [(stage.name, stage.shares) for stage in stages] == [("3000", True), ("300", True), ("costs", False)]


def test_a_comparison_that_has_begun_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stage = tournament.stages(("lora", "ia3"), shared=False)[1]
    begins = tournament.command(stage, "mine_300", "DIR", ["--jobs", "2"], ["--data.max_length", "16"])
    assert begins[begins.index("--name") + 1] == "mine_300"
    assert {"--no_texts", "--tune", "--baseline", "embedded", "DIR"} <= set(begins)
    (tmp_path / "lightning_logs/compare/mine_300").mkdir(parents=True)
    (tmp_path / "lightning_logs/compare/mine_300/plan.json").write_text("{}")
    goes_on = tournament.command(stage, "mine_300", "DIR", ["--jobs", "2"], ["--data.max_length", "16"])
    assert goes_on == ["compare", "--resume", "lightning_logs/compare/mine_300", "--jobs", "2"]


def test_a_recipe_that_is_none_is_named() -> None:
    with pytest.raises(SystemExit, match="there is no recipe vra; there are full, lora"):
        tournament.recipes(("vra",))


@pytest.mark.slow
def test_a_tournament_of_one_recipe_leaves_its_reports_and_its_times(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    words = [sys.executable, str(ROOT / "benchmarks/tournament.py"), "--reviews", "embedded", "--out", str(out)]
    words += [
        "--stages",
        "300",
        "--recipes",
        "head",
        "--data.n_test",
        "16",
        "--data.n_val",
        "16",
        "--data.max_length",
        "16",
    ]
    words += ["--trainer.limit_train_batches", "1", "--trainer.max_epochs", "1", "--tune", "2", "--seeds", "7"]
    done = subprocess.run(
        words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1000
    )
    assert done.returncode == 0, done.stdout + done.stderr
    times = json.loads((out / "tournament.json").read_text())
    assert {path.name for path in (out / "300").iterdir()} == set(FILES)
    assert "| head | 1 seed |" in (out / "300" / "table.md").read_text()
    assert list(times) == ["300"]
    assert times["300"]["wall_s"] > 0
