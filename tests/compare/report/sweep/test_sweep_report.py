import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.plan.sweep import Sweep
from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.reading import read_study
from peft_lightning.errors import UserError
from tests.compare.report.records import FULL, IA3, LORA, Made, plan, write_run

RECIPES = {"full": FULL, "lora": LORA, "ia3": IA3}
ACCURACY = {"full": (0.62, 0.88, 0.91), "lora": (0.78, 0.88, 0.91), "ia3": (0.77, 0.87, 0.9)}


def swept(
    folder: Path,
    setting: str = "data.n_train",
    values: tuple[str, ...] = ("100", "1000"),
    baseline: str | None = "lora",
    apart: bool = False,
    unfinished: tuple[str, ...] = (),
) -> Path:
    """A sweep whose runs have finished, but those of a recipe at the first value that are named."""
    sweep = Sweep(setting, values)
    for number, name in enumerate(sweep.folders):
        own = replace(plan(RECIPES, (1, 2)), baseline=baseline)
        own.write(folder / name)
        for run in own.runs(folder / name):
            if number == 0 and run.label in unfinished:
                continue
            made: Made = replace(RECIPES[run.label], accuracy=ACCURACY[run.label][number])
            place = run.folder / "lightning_logs" / made.method / "version_0"
            write_run(place, made, run.seed, run.label, 400, first_id=number if apart else 0)
    sweep.write(folder)
    return folder


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_report_has_a_curve_for_each_recipe_and_says_where_methods_differ_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_report(swept(tmp_path)) == ()
    said = printed(capsys)
    assert "The training texts are nested: each larger subset holds the smaller ones." in said
    assert "Of 4 differences to lora" in said
    assert re.search(r"full is 1\d\.\d points worse than lora at n_train 100", said)
    assert "The recipes differ more at one n_train than at another" in said
    assert re.search(
        r"full's difference to lora goes from −1\d\.\d at n_train 100 to .* at 1000: a change of \+1", said
    )
    assert "ia3's difference" not in said
    page = (tmp_path / "report.html").read_text()
    assert page.count('<svg class="plot wide-plot"') == 2
    assert "data.n_train, logarithmic axis" in page
    for name in ("n_train_100", "n_train_1000"):
        assert f'href="{name}/report.html"' in page
        assert (tmp_path / name / "report.html").is_file()
    assert "http" not in re.sub(r'xmlns[:\w]*="[^"]*"', "", page)
    # The table and the rows have the value.
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["data.n_train"] for row in rows] == ["100"] * 6 + ["1000"] * 6
    assert [row["recipe"] for row in rows[:6]] == ["full", "full", "lora", "lora", "ia3", "ia3"]
    assert all((tmp_path / row["run"] / "results.json").is_file() for row in rows)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 5
    first = next(row for row in (tmp_path / "n_train_100/table.md").read_text().splitlines() if "| full" in row)
    accuracy = re.search(r"6\d\.\d %", first)
    assert accuracy is not None
    assert lines[2].startswith(f"| full | {accuracy[0]} (")


@pytest.mark.slow
def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    write_report(swept(tmp_path))
    names = ("report.html", "results.csv", "table.md", "n_train_1000/report.html")
    before = [(tmp_path / name).read_bytes() for name in names]
    write_report(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == before


@pytest.mark.slow
def test_words_have_places_side_by_side_and_the_first_recipe_is_the_baseline_where_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(swept(tmp_path, "model.optimizer", ("adamw", "a=b"), baseline=None))
    said = printed(capsys)
    assert "No --baseline was named, so the first recipe, full, is it." in said
    assert "nested" not in said
    page = (tmp_path / "report.html").read_text()
    assert "logarithmic" not in page
    assert all(f">{value}<" in page for value in ("adamw", "a=b"))


@pytest.mark.slow
def test_values_that_were_tested_on_other_texts_are_not_paired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(swept(tmp_path, "data.seed", ("1", "2"), apart=True))
    assert "Values have test texts of their own, so their differences are not paired." in printed(capsys)
    assert "so their differences count as independent" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_value_at_which_the_baseline_has_not_finished_is_left_out_of_the_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_report(swept(tmp_path, unfinished=("lora",))) == ()
    said = printed(capsys)
    assert "At n_train 100: Partial: 4 of 6 runs have finished" in said
    assert "Of 2 differences to lora" in said
    page = (tmp_path / "report.html").read_text()
    assert '<td>100</td><td class="number">1</td><td>not started</td>' in page


@pytest.mark.slow
def test_a_sweep_of_which_nothing_has_run_has_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = Sweep("data.n_train", ("1", "2"))
    for name in sweep.folders:
        plan(RECIPES, (1,)).write(tmp_path / name)
    sweep.write(tmp_path)
    assert write_report(tmp_path) == ()
    assert "Nothing is compared with full" in printed(capsys)


@pytest.mark.slow
def test_a_further_run_joins_one_value(tmp_path: Path) -> None:
    swept(tmp_path / "mine")
    other = write_run(tmp_path / "version_0", LORA, 9, "lora")
    with pytest.raises(UserError, match=r"further runs join the report of one, report .*mine/n_train_100 .*version_0"):
        write_report(tmp_path / "mine", [other])
    write_report(tmp_path / "mine" / "n_train_100", [other])
    assert len(read_study(tmp_path / "mine" / "n_train_100", [other]).recipes) >= 3


@pytest.mark.slow
def test_another_baseline_is_that_of_all_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(swept(tmp_path), baseline="ia3")
    assert "Of 4 differences to ia3" in printed(capsys)
    with pytest.raises(UserError, match="none of the recipes"):
        write_report(tmp_path, baseline="vera")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["f1.positive", "mcc"])
def test_a_value_without_answers_has_dashes_and_leaves_the_metric_to_the_others(
    metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(swept(tmp_path, unfinished=("full", "lora", "ia3")), metric=metric)
    lines = (tmp_path / "table.md").read_text().splitlines()
    name = {"f1.positive": "F1", "mcc": "MCC"}[metric]
    assert re.match(rf"\| recipe \| test {name}.* at n\\?_train 100 \|", lines[0])
    assert all(line.split("|")[2].strip() == "–" for line in lines[2:])
    assert "undefined for the runs" not in printed(capsys)
    with pytest.raises(UserError, match="--metric rmse "):
        write_report(tmp_path, metric="rmse")
