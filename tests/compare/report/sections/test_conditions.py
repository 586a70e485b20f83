from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.report.hiding import NOTHING
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.conditions import describe_fairness, describe_tuning
from peft_lightning.compare.report.surroundings import describe_surroundings
from peft_lightning.compare.stages.tuning import Try, Tuning
from peft_lightning.runs.record import EngineFigures, RunRecord, StepFigures
from tests.compare.report.records import FOUR, IA3, LORA, comparison, plan, tune, write_run


def test_what_differs_beyond_the_method_is_listed_and_said_first(tmp_path: Path) -> None:
    study = read_study(comparison(tmp_path, FOUR, (1,), 40))
    told = describe_fairness(study, describe_surroundings(study), NOTHING)
    assert {row["setting"]: row["values"] for row in told["rows"]} == {
        "model.optimizer": [("adamw", "full, lora and ia3"), ("paged_adamw_8bit", "qlora")],
        "model.learning_rate": [("2e-5", "full"), ("1e-3", "lora and qlora"), ("1e-2", "ia3")],
    }
    assert told["loud"] == ("model.optimizer touches memory, time and accuracy; model.learning_rate touches accuracy.")
    assert told["tried"] == "How many learning rates were tried for each recipe is not recorded."


def test_one_learning_rate_for_all_is_said(tmp_path: Path) -> None:
    recipes = {"lora": LORA, "ia3": replace(IA3, learning_rate=LORA.learning_rate)}
    study = read_study(comparison(tmp_path, recipes, (1,), 40))
    told = describe_fairness(study, (), NOTHING)
    assert told["rows"] == []
    assert told["loud"] == ""
    assert told["shared"].startswith("All methods train with the same learning rate (0.001)")


def test_runs_on_different_machines_are_said(tmp_path: Path) -> None:
    recipes = {"lora": LORA, "ia3": replace(IA3, gpu=None, cpu=1.0)}
    study = read_study(comparison(tmp_path, recipes, (1,), 40))
    (sentence,) = describe_fairness(study, describe_surroundings(study), NOTHING)["surroundings"]
    assert sentence == (
        "Not all runs had the same device: NVIDIA GeForce RTX 3050 in lora; AMD EPYC, 2 threads in ia3."
        " So memory and time are not comparable."
    )


def test_a_run_whose_batches_did_not_fit_is_said(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    for run in read_plan(folder).runs(folder):
        path = next(run.folder.rglob("results.json"))
        size = 2 if run.label == "ia3" else 8
        replace(RunRecord.read(path), engine=EngineFigures("eager", size)).write(path)
    study = read_study(folder)
    (sentence,) = describe_fairness(study, describe_surroundings(study), NOTHING)["surroundings"]
    assert sentence.startswith("Not all runs had the same micro-batch size: 8 in lora; 2 in ia3. So memory and time")


def test_a_run_of_which_one_process_cut_its_batches_is_said(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    for run in read_plan(folder).runs(folder):
        path = next(run.folder.rglob("results.json"))
        each = [StepFigures("eager", 8), StepFigures("eager", 2 if run.label == "ia3" else 8)]
        replace(RunRecord.read(path), engine=EngineFigures("eager", 8, by_process=each)).write(path)
    study = read_study(folder)
    (sentence,) = describe_fairness(study, describe_surroundings(study), NOTHING)["surroundings"]
    assert sentence.startswith("Not all runs had the same micro-batch size: 8 in lora; 8 and 2 in ia3. So memory and")


def test_runs_that_started_in_another_way_are_said(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    for run in read_plan(folder).runs(folder):
        path = next(run.folder.rglob("results.json"))
        record = RunRecord.read(path)
        record.time.start = "warm" if run.label == "ia3" else "cold"
        record.write(path)
    study = read_study(folder)
    (sentence,) = describe_fairness(study, describe_surroundings(study), NOTHING)["surroundings"]
    assert sentence == (
        "Not all runs had the same process start: cold in lora; warm in ia3."
        " So start-up time and resident memory are not comparable."
    )


@pytest.mark.parametrize("before", [False, None], ids=["not unpadded", "older record"])
def test_attention_that_left_padding_out_in_some_runs_only_is_said(before: bool | None, tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    for run in read_plan(folder).runs(folder):
        path = next(run.folder.rglob("results.json"))
        unpadded = True if run.label == "ia3" else before
        replace(RunRecord.read(path), engine=EngineFigures(unpadded_attention=unpadded, cudnn_attention=False)).write(
            path
        )
    study = read_study(folder)
    (sentence,) = describe_fairness(study, describe_surroundings(study), NOTHING)["surroundings"]
    assert sentence == (
        "Not all runs had the same unpadded attention: no in lora; yes in ia3. So memory and time are not comparable."
    )


@pytest.mark.parametrize(
    ("tries", "said"),
    [
        ({"lora": 2, "ia3": 2}, "The same number of learning rates was tried for each tuned recipe: 2 learning rates."),
        ({"lora": 2, "ia3": 1}, "Not the same number of learning rates was tried for each recipe (lora 2; ia3 1)."),
    ],
)
def test_the_number_of_rates_tried(tries: dict[str, int], said: str, tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    tune(tmp_path, tries)
    study = read_study(tmp_path)
    assert describe_fairness(study, (), NOTHING)["tried"] == said
    tuning = describe_tuning(study)
    assert tuning is not None
    assert tuning["rows"][0] == {
        "label": "lora", "first": 2, "rate": "1e-3", "validation": "90.0 %", "loss": "–", "chosen": True
    }  # fmt: skip
    assert tuning["chosen"][0].startswith("lora: learning rate 0.001 of 2, 90.0 % validation accuracy")
    assert [row["first"] for row in tuning["rows"]] == [2, 0, tries["ia3"], *[0] * (tries["ia3"] - 1)]


def test_a_run_from_elsewhere_was_not_tuned_here(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    tune(tmp_path / "mine", {"lora": 2})
    other = write_run(tmp_path / "version_0", IA3, 1, "ia3", 40)
    tried = describe_fairness(read_study(tmp_path / "mine", [other]), (), NOTHING)["tried"]
    assert tried.endswith("2 learning rates. How many were tried for ia3 is not recorded.")


def test_seeds_of_one_recipe_with_other_settings_are_said(tmp_path: Path) -> None:
    for run in plan({"lora": LORA}, (1, 2, 3), tmp_path).runs(tmp_path):
        made = replace(LORA, learning_rate=1e-2 if run.seed == 3 else LORA.learning_rate)
        write_run(run.folder / "lightning_logs" / "lora" / "version_0", made, run.seed, "lora", 40)
    (sentence,) = describe_fairness(read_study(tmp_path), (), NOTHING)["surroundings"]
    assert sentence == (
        "The runs of lora are not of one recipe: model.learning_rate was 1e-3 with seeds 1 and 2; 1e-2 with seed 3."
    )


def test_a_rate_without_a_result_was_not_tried(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    lora = (Try(1e-4), Try(1e-3, 0.9, 0.3), Try(1e-2, 0.8, 0.4))
    ia3 = (Try(1e-3, 0.7, 0.5), Try(1e-2, 0.8, 0.4), Try(1e-1, 0.6, 0.9))
    Tuning(3, {"lora": lora, "ia3": ia3}, {"lora": 1e-3, "ia3": 1e-2}, 1).write(tmp_path)
    study = read_study(tmp_path)
    told = describe_fairness(study, (), NOTHING)
    assert told["tried"] == (
        "Not the same number of learning rates was tried for each recipe (lora 2; ia3 3)."
        " Without a result, and not counted as tried: 1e-4 for lora."
    )
    tuning = describe_tuning(study)
    assert tuning is not None
    assert tuning["chosen"] == [
        "lora: learning rate 0.001 of 2, 90.0 % validation accuracy; it is the lowest tried, and beyond it may be a"
        " better one.",
        "ia3: learning rate 0.01 of 3, 80.0 % validation accuracy.",
    ]
    assert len(tuning["rows"]) == 6


def test_many_recipes_have_their_rates_in_rows_and_only_those_at_an_end_are_named(tmp_path: Path) -> None:
    labels = [f"method_{number:02d}" for number in range(9)]
    plan(dict.fromkeys(labels, LORA), (1,), tmp_path)
    tries = dict.fromkeys(labels, tuple(Try(rate, 0.9) for rate in (1e-5, 1e-4, 1e-3)))
    Tuning(3, tries, dict.fromkeys(labels, 1e-5) | {labels[0]: 1e-4, labels[1]: 1e-3}, 1).write(tmp_path)
    told = describe_tuning(read_study(tmp_path))
    assert told is not None
    assert [row["label"] for row in told["ladders"]] == labels
    assert [cell["chosen"] for cell in told["ladders"][0]["cells"]] == [False, True, False]
    lowest, highest = told["chosen"]
    assert lowest.startswith("The lowest rate tried was chosen for method_02, method_03, ")
    assert highest == "The highest rate tried was chosen for method_01: beyond it may be a better one."


def test_a_rate_that_diverged_was_tried(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 40)
    lora = (Try(1e-3, 0.9, 0.3), Try(1e-2, 0.8, 0.4))
    ia3 = (Try(1e-2, 0.8, 0.4), Try(1e-1, diverged=True))
    Tuning(2, {"lora": lora, "ia3": ia3}, {"lora": 1e-3, "ia3": 1e-2}, 1).write(tmp_path)
    study = read_study(tmp_path)
    assert describe_fairness(study, (), NOTHING)["tried"] == (
        "The same number of learning rates was tried for each tuned recipe: 2 learning rates. Diverged: 1e-1 for ia3."
    )
    tuning = describe_tuning(study)
    assert tuning is not None
    assert tuning["rows"][3]["validation"] == "diverged"
    assert "1 of them diverged" in tuning["chosen"][1]
