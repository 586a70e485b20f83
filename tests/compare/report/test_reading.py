import json
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.study import Study
from peft_lightning.errors import UserError
from tests.compare.report.records import FOUR, IA3, LORA, comparison, fail, plan, write_run


def states(study: Study) -> dict[str, list[str]]:
    return {recipe.label: [run.state for run in recipe.runs] for recipe in study.recipes}


def test_every_run_is_as_far_as_it_got(tmp_path: Path) -> None:
    for run in plan(FOUR, (1, 2), tmp_path).runs(tmp_path):
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        if run.label == "full":
            write_run(directory, FOUR["full"], run.seed, "full", 40, status="finished" if run.seed == 1 else "running")
        elif run.label == "qlora":
            fail(run.folder, "out_of_memory", "CUDA out of memory")
        elif run.label == "ia3" and run.seed == 2:
            write_run(directory, FOUR["ia3"], run.seed, "ia3", 40)
            (directory / "results.json").write_text("{")
    study = read_study(tmp_path)
    assert states(study) == {
        "full": ["finished", "running"],
        "lora": ["not_started", "not_started"],
        "qlora": ["out_of_memory", "out_of_memory"],
        "ia3": ["not_started", "unreadable"],
    }
    assert study.recipes[2].runs[0].error == "CUDA out of memory"
    assert "full" in study.recipes[0].label
    assert len(study.unfinished) == 7


def test_a_failure_does_not_hide_a_later_run_that_finished(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA}, (1,), 40)
    fail(tmp_path / "runs" / "lora" / "seed_1", "failed", "the first attempt")
    assert states(read_study(tmp_path)) == {"lora": ["finished"]}


def test_the_newest_version_counts(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA}, (1,), 40)
    runs = tmp_path / "runs" / "lora" / "seed_1" / "lightning_logs" / "lora"
    for version in (9, 10):
        write_run(runs / f"version_{version}", replace(LORA, checkpoint=version), 1, "lora", 40)
    (runs / "version_11").mkdir()
    ((_, record),) = read_study(tmp_path).recipes[0].finished
    assert record.checkpoint_bytes == 10


def test_a_run_with_a_recipe_s_settings_joins_it_as_a_further_seed(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=40)
    more = write_run(tmp_path / "logs" / "version_3", LORA, 7, "lora", 40)
    study = read_study(tmp_path / "mine", [more])
    assert [run.seed for run in study.recipes[1].runs] == [1, 2, 3, 7]
    assert len(study.recipes) == 4


def test_a_run_with_other_settings_is_a_row_of_its_own(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=40)
    other = replace(LORA, settings={"gradient_checkpointing": True})
    more = write_run(tmp_path / "logs" / "version_3", other, 1, "lora", 40)
    again = write_run(tmp_path / "logs" / "version_4", other, 2, "lora", 40)
    study = read_study(tmp_path / "mine", [more, again])
    assert [recipe.label for recipe in study.recipes] == ["full", "lora", "qlora", "ia3", "lora (version_3)"]
    assert [run.seed for run in study.recipes[4].runs] == [1, 2]


def test_a_repeated_seed_is_left_out_and_said(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=40)
    repeat = write_run(tmp_path / "logs" / "version_0", LORA, 1, "lora", 40)
    study = read_study(tmp_path / "mine", [repeat])
    assert study.notes == ("version_0 repeats seed 1 of lora and was left out.",)
    assert len(study.recipes[1].runs) == 3


def test_a_whole_other_comparison_joins(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    comparison(tmp_path / "theirs", {"ia3": IA3, "lora": LORA}, (2,), 40)
    study = read_study(tmp_path / "mine", [tmp_path / "theirs"])
    assert states(study) == {"lora": ["finished", "finished"], "ia3": ["finished"]}


def test_a_run_on_other_reviews_is_shown_and_not_tested(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=40)
    other = write_run(tmp_path / "logs" / "version_0", replace(LORA, method="dora"), 1, "dora", 40, first_id=1)
    findings = find(read_study(tmp_path / "mine", [other]))
    assert findings.statistics is not None
    assert [method.method for method in findings.statistics.methods] == ["full", "lora", "qlora", "ia3"]
    assert "dora" in findings.scores
    (sentence,) = findings.left_out
    assert sentence.startswith("dora was tested on other reviews than most runs")


def test_the_same_rows_of_a_changed_source_are_other_reviews(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", reviews=40)
    dora = replace(LORA, method="dora")
    changed = write_run(tmp_path / "a", dora, 1, "changed", 40, fingerprint="d" * 64)
    larger = write_run(tmp_path / "b", dora, 1, "larger", 40, fingerprint="e" * 64, n_train=5000)
    findings = find(read_study(tmp_path / "mine", [changed, larger]))
    assert set(findings.answers) == {"full", "lora", "qlora", "ia3", "larger"}


def test_a_folder_without_a_run_is_one_line(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no run \(results.json\)"):
        read_study(tmp_path / "mine", [tmp_path / "empty"])


def test_a_damaged_failure_is_a_failure(tmp_path: Path) -> None:
    folder = plan({"lora": LORA}, (1,), tmp_path).runs(tmp_path)[0].folder
    fail(folder, "exploded", "unheard of")
    assert states(read_study(tmp_path)) == {"lora": ["failed"]}
    (folder / "failure.json").write_text(json.dumps(["no", "mapping"]))
    assert states(read_study(tmp_path)) == {"lora": ["failed"]}


@pytest.mark.parametrize("ended", ["failed", "running", "never"])
def test_a_run_from_elsewhere_stands_in_for_a_seed_that_did_not_finish(ended: str, tmp_path: Path) -> None:
    for run in plan({"lora": LORA}, (1, 2), tmp_path / "mine").runs(tmp_path / "mine"):
        directory = run.folder / "lightning_logs" / "lora" / "version_0"
        if run.seed == 1:
            write_run(directory, LORA, 1, "lora", 40)
        elif ended == "running":
            write_run(directory, LORA, 2, "lora", 40, status="running")
        elif ended == "failed":
            fail(run.folder, "failed", "no reason")
    joined = write_run(tmp_path / "logs" / "version_3", LORA, 2, "lora", 40)
    study = read_study(tmp_path / "mine", [joined])
    assert states(study) == {"lora": ["finished", "finished"]}
    assert [run.place for run in study.recipes[0].runs][1] == "version_3"
    (note,) = study.notes
    assert note.startswith("version_3 stands in for seed 2 of lora, which is ")


def test_an_unfinished_run_stands_in_for_nothing(tmp_path: Path) -> None:
    plan({"lora": LORA}, (1, 2), tmp_path / "mine")
    for seed in (1, 2):
        write_run(tmp_path / f"mine/runs/lora/seed_{seed}/lightning_logs/lora/version_0", LORA, seed, "lora", 40)
    (tmp_path / "mine/runs/lora/seed_2/lightning_logs/lora/version_0/results.json").write_text("{")
    other = write_run(tmp_path / "version_3", LORA, 2, "lora", 40, status="running")
    assert states(read_study(tmp_path / "mine", [other])) == {"lora": ["finished", "unreadable"]}


@pytest.mark.parametrize("named", ["", "lightning_logs", "lightning_logs/lora"])
def test_all_runs_below_a_directory_join(named: str, tmp_path: Path) -> None:
    comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    for version, seed in enumerate((4, 5, 5)):
        write_run(tmp_path / "lightning_logs" / "lora" / f"version_{version}", LORA, seed, "lora", 40)
    write_run(tmp_path / "lightning_logs" / "ia3" / "version_0", IA3, 1, "ia3", 40)
    study = read_study(tmp_path / "mine", [tmp_path / named])
    assert {run.seed: run.place for run in study.recipes[0].runs if run.seed > 1} == {
        4: "lora/version_0", 5: "lora/version_2"
    }  # fmt: skip
    assert study.notes == ("lora/version_1 repeats seed 5 of lora and was left out.",)
    assert [recipe.label for recipe in study.recipes[1:]] == ([] if named.endswith("lora") else ["ia3"])


def test_an_unreadable_run_among_others_is_left_out_and_said(tmp_path: Path) -> None:
    comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    for version, seed in enumerate((2, 3)):
        write_run(tmp_path / "lightning_logs" / "lora" / f"version_{version}", LORA, seed, "lora", 40)
    (tmp_path / "lightning_logs" / "lora" / "version_1" / "results.json").write_text("{")
    study = read_study(tmp_path / "mine", [tmp_path])
    assert [run.seed for run in study.recipes[0].runs] == [1, 2]
    (note,) = study.notes
    assert note.startswith("lora/version_1 was left out: ")
