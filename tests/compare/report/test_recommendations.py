import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import Findings, find
from peft_lightning.compare.report.ranking import Recommendation
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.task import FIRST
from tests.compare.report.records import FOUR, IA3, LORA, QLORA, Made, comparison, plan, write_run


def asked(rows: tuple[Figures, ...], findings: Findings) -> dict[str, Recommendation]:
    return {one.question: one for one in recommend(rows, findings.statistics, FIRST.headline)}


@pytest.fixture
def four(tmp_path: Path) -> tuple[tuple[Figures, ...], Findings]:
    comparison(tmp_path, reviews=2000)
    study = read_study(tmp_path)
    findings = find(study)
    return summarise(study, findings), findings


def test_each_question_has_its_recipe(four: tuple[tuple[Figures, ...], Findings]) -> None:
    answers = asked(*four)
    assert {question: one.answer for question, one in answers.items()} == {
        "Smallest GPU": "qlora",
        "Fastest": "ia3",
        "Most accurate": "full",
        "Smallest checkpoint": "ia3",
    }
    assert answers["Smallest checkpoint"].figure == "2.6 MB"


def test_the_most_accurate_names_what_is_not_told_apart_from_it(four: tuple[tuple[Figures, ...], Findings]) -> None:
    reason = asked(*four)["Most accurate"].reason
    assert reason == "Not told apart from it: lora. Worse beyond chance: qlora and ia3."


def test_runs_that_were_tested_where_the_metric_is_undefined_are_not_said_to_be_untested(
    four: tuple[tuple[Figures, ...], Findings],
) -> None:
    rows = tuple(replace(row, headline=None) for row in four[0])
    assert recommend(rows, None, FIRST.headline)[2].reason == "No run has a value of accuracy."
    untested = tuple(replace(row, finished=0) for row in rows)
    assert recommend(untested, None, FIRST.headline)[2].reason == "No run was tested."


def test_the_smallest_says_what_it_costs_in_accuracy(four: tuple[tuple[Figures, ...], Findings]) -> None:
    assert "points less accurate than full" in asked(*four)["Smallest GPU"].reason


def test_equals_are_named_together(tmp_path: Path) -> None:
    comparison(tmp_path, {"a": LORA, "b": replace(LORA, method="b")}, (1, 2), 100)
    study = read_study(tmp_path)
    findings = find(study)
    assert asked(summarise(study, findings), findings)["Smallest checkpoint"].answer == "a and b"


def test_a_recipe_without_a_gpu_does_not_win_the_gpu(tmp_path: Path) -> None:
    recipes = FOUR | {"qlora": replace(QLORA, gpu=None, cpu=0.1)}
    comparison(tmp_path, recipes, (1,), 100)
    study = read_study(tmp_path)
    findings = find(study)
    assert asked(summarise(study, findings), findings)["Smallest GPU"].answer == "lora"


def test_times_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    recipes = FOUR | {"ia3": replace(FOUR["ia3"], gpu=None, cpu=1.0, train_s=1.0)}
    comparison(tmp_path, recipes, (1,), 100)
    study = read_study(tmp_path)
    findings = find(study)
    fastest = asked(summarise(study, findings), findings)["Fastest"]
    assert fastest.answer == "lora"
    assert fastest.reason.endswith("Not compared, on another device: ia3.")


def test_the_smallest_gpu_is_of_the_largest_peak_that_a_card_must_hold(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA, "qlora": QLORA}, (1, 2), 100)
    path = next(tmp_path.glob("runs/qlora/seed_2/lightning_logs/*/*/results.json"))
    record = json.loads(path.read_text())
    record["memory"] |= {"train_peak_allocated_gib": 1.5, "train_peak_reserved_gib": 1.75}
    path.write_text(json.dumps(record))
    study = read_study(tmp_path)
    findings = find(study)
    rows = summarise(study, findings)
    # In the mean qlora is smaller.
    assert rows[1].gpu_allocated_gib == pytest.approx((1.09 + 1.5) / 2)
    smallest = asked(rows, findings)["Smallest GPU"]
    assert (smallest.answer, smallest.figure) == ("lora", "1.35 GiB")
    assert "The largest peak of all seeds counts" in smallest.reason
    assert "Next is qlora with 1.50 GiB" in smallest.reason


def cards(folder: Path) -> dict[str, Recommendation]:
    study = read_study(folder)
    findings = find(study)
    return asked(summarise(study, findings), findings)


def test_one_recipe_that_has_finished_is_no_winner(tmp_path: Path) -> None:
    run = plan({"lora": LORA, "ia3": IA3}, (1, 2), tmp_path).runs(tmp_path)[0]
    write_run(run.folder / "lightning_logs" / "lora" / "version_0", LORA, 1, "lora", 200)
    answers = cards(tmp_path)
    for question in ("Smallest GPU", "Fastest", "Most accurate", "Smallest checkpoint"):
        card = answers[question]
        assert (card.answer, card.instead) == ("", "nothing to compare with")
        assert "Only lora was measured: " in card.reason
    assert answers["Fastest"].reason == "Only lora was measured: 4.0 min."


def test_one_process_on_a_cpu_is_not_the_smallest(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": replace(LORA, gpu=None, cpu=1.0)}, (1,), 60)
    assert "smallest" not in cards(tmp_path)["Smallest GPU"].reason


def measured(
    folder: Path, section: str, name: str, values: dict[str, list[float]], **made_as: Any
) -> dict[str, Recommendation]:
    """The cards with these values of one figure for the runs of each recipe."""
    made = {label: Made(label, **made_as) for label in values}
    seeds = range(1, 1 + len(next(iter(values.values()))))
    for run in plan(made, tuple(seeds), folder).runs(folder):
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        write_run(directory, made[run.label], run.seed, run.label, 60)
        record = json.loads((directory / "results.json").read_text())
        record[section][name] = values[run.label][run.seed - 1]
        (directory / "results.json").write_text(json.dumps(record))
    return cards(folder)


def timed(folder: Path, seconds: dict[str, list[float]]) -> Recommendation:
    """The card of the fastest, with these seconds."""
    return measured(folder, "time", "train_s", seconds)["Fastest"]


def resident(folder: Path, gib: dict[str, list[float]]) -> str:
    """What the card of the smallest GPU says of processes on a CPU, with these GiB."""
    said = measured(folder, "memory", "train_peak_rss_gib", gib, gpu=None, cpu=1.0)["Smallest GPU"].reason
    return said.removeprefix("No run used a GPU, so what a GPU would need was not measured. ")


def test_processes_whose_sizes_overlap_crown_nobody(tmp_path: Path) -> None:
    overlapping = {"lora": [1.00, 1.06], "ia3": [1.01, 1.03], "full": [2.0, 2.1]}
    assert resident(tmp_path, overlapping) == (
        "On this CPU the processes of ia3 and lora took 1.02 GiB to 1.03 GiB."
        " No order among them: their single runs overlap. Next is full with 2.05 GiB (2.0 times)."
    )


def test_a_process_that_is_smaller_in_every_run_is_the_smallest(tmp_path: Path) -> None:
    assert resident(tmp_path, {"lora": [1.02, 1.03], "ia3": [1.00, 1.01]}) == (
        "On this CPU ia3's process stayed smallest (1.00 GiB). Next is lora with 1.02 GiB (2 % more)."
    )


def test_single_runs_of_nearly_one_size_say_that_the_spread_is_unknown(tmp_path: Path) -> None:
    unknown = "With one run each, how much resident memory differs by itself was not measured."
    assert unknown in resident(tmp_path / "close", {"lora": [1.01], "ia3": [1.00]})
    assert unknown not in resident(tmp_path / "clear", {"lora": [1.5], "ia3": [1.0]})


def test_times_that_overlap_crown_nobody(tmp_path: Path) -> None:
    fastest = timed(tmp_path, {"lora": [9.6, 10.2], "ia3": [9.5, 10.1], "full": [20.0, 20.2]})
    assert (fastest.answer, fastest.figure) == ("ia3 and lora", "9.8 s to 9.9 s")
    assert fastest.reason == "No order among them: their single runs overlap. Next is full with 20.1 s (2.1 times)."


def test_times_that_are_close_and_apart_in_every_run_have_a_winner(tmp_path: Path) -> None:
    fastest = timed(tmp_path, {"lora": [9.9, 9.91], "ia3": [9.8, 9.81]})
    assert (fastest.answer, fastest.figure) == ("ia3", "9.8 s")
    assert "overlap" not in fastest.reason


def test_a_close_race_of_single_runs_says_that_the_spread_is_unknown(tmp_path: Path) -> None:
    unknown = "With one run each, how much times differ by themselves was not measured."
    assert unknown in timed(tmp_path / "close", {"lora": [9.9], "ia3": [9.8]}).reason
    assert unknown not in timed(tmp_path / "clear", {"lora": [19.9], "ia3": [9.8]}).reason
