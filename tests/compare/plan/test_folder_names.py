import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from peft_lightning.compare.display.live_table import LiveTable
from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.comparison_folder import new_folder
from peft_lightning.compare.plan.folder_names import formula_problem, name_problem, visible
from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.plan.recipe_labels import recipe_labels
from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.reading import read_study
from peft_lightning.errors import UserError
from peft_lightning.runs.markdown import escaped
from tests.compare.report.records import IA3, LORA, comparison, fail, plan, write_run
from tests.compare.report.test_writing import runs, table
from tests.samples import mostly_slow

# Names that mean something to Matplotlib, Markdown, HTML, Jinja, YAML, a shell or rich, and that a file can have.
ODD = (
    ("$x$ and $\\frac{$", "a_b^c\\{d}%", "<script>alert(1)", "a|b", "[red]x[bold]", "{{ 7 * 7 }}", "[link=x]"),
    ("&lt;b&gt;", ":smile:", "1e3", "null", "true", "2024-01-01", "~", "#x", "a: b", "`code`", "*bold* ~~no~~"),
    ("'q' \"r\"", "naïve café", "👩‍💻", "a b", "..x", "%s %(a)s", "لورا", "x" * 200),
)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("names", mostly_slow(ODD, fast=ODD[:1]))
def test_names_that_a_folder_can_have_are_shown_as_they_are_everywhere(names: tuple[str, ...], tmp_path: Path) -> None:
    assert {name_problem(name) for name in names} == {formula_problem(name) for name in names} == {None}
    folder = comparison(tmp_path / names[0], {name: LORA if name == names[0] else IA3 for name in names}, (1,), 40)
    assert write_report(folder) == ()
    assert [re.sub(r"\\(.)", r"\1", row["recipe"]) for row in table(folder)] == list(names)
    assert [run["recipe"] for run in runs(folder)] == list(names)
    page = (folder / "report.html").read_text()
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", page)
    for name in names:
        assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in drawn
    assert "<script" not in page


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"), (" ", "is empty"), ("..", "another folder"), ("a/b", "path separator"),
        ("two\nlines", "not seen"), ("a\tb", "not seen"), ("a\x00", "not seen"), ("a\x1b[2J", "not seen"),
        ("a\u2028b", "not seen"), ("\u202egnp", "not seen"), ("\udcff", "not UTF-8"), ("ä" * 128, "has 256 bytes"),
    ],
)  # fmt: skip
def test_a_name_that_no_folder_can_have_is_refused_before_anything_is_made(
    name: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=problem) as refused:
        new_folder(name, tmp_path / "compare")
    assert "say --name mine" in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(tmp_path))
    assert not any(letter in str(refused.value) for letter in "\n\t\x00\x1b\u2028\u202e")
    assert not (tmp_path / "compare").exists()


@pytest.mark.parametrize("stem", ["=cmd|calc", "+1", "-x", "@sum", "two\nlines", "\udcff", "a\x1b[2J"])
def test_a_recipe_whose_name_means_something_else_is_refused_before_any_run(stem: str, tmp_path: Path) -> None:
    file = tmp_path / f"{stem}.yaml"
    file.write_text(yaml.safe_dump({"model": {"method": {"class_path": "peft_lightning.methods.LoRA"}}}))
    with pytest.raises(UserError, match="rename the file") as refused:
        build_plan([str(file)], [1])
    assert "\n" not in str(refused.value)


def test_recipes_that_differ_in_case_alone_have_folders_of_their_own() -> None:
    files = [Path(f"/r/{name}.yaml") for name in ("LoRA", "lora", "ia3", "LORA", "e\u0301", "\u00e9")]
    labels = recipe_labels(files)
    assert labels == ["LoRA", "lora-2", "ia3", "LORA-4", "e\u0301", "\u00e9-6"]
    assert recipe_labels(files[1:3]) == ["lora", "ia3"]


def test_a_text_that_is_a_formula_to_a_spreadsheet_is_none_in_the_csv(tmp_path: Path) -> None:
    for run in plan({"lora": LORA, "=1+1": IA3}, (1,), tmp_path).runs(tmp_path):
        if run.label == "lora":
            fail(run.folder, "failed", "--data.n_train 5: it takes more")
        else:
            write_run(run.folder / "lightning_logs/ia3/version_0", IA3, 1, run.label, 40)
    write_report(tmp_path)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe"] for row in rows] == ["lora", "'=1+1"]
    assert rows[0]["error"] == "'--data.n_train 5: it takes more"
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())
    assert [row["recipe"] for row in table(tmp_path)] == ["lora", "=1+1"]


@pytest.mark.slow
def test_a_run_of_a_strange_name_joins_under_a_name_that_is_seen(tmp_path: Path) -> None:
    folder = comparison(tmp_path / "mine", {"lora": LORA}, (1,), 40)
    other = write_run(tmp_path / "version_0", IA3, 1, "two\nlines/\x1b[2J", 40)
    assert [recipe.label for recipe in read_study(folder, [other]).recipes] == ["lora", r"two\nlines-\x1b[2J"]
    write_report(folder, [other])
    assert table(folder)[1]["recipe"] == r"two\\nlines-\\x1b\[2J"


def test_a_label_in_the_live_table_is_no_markup(tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=(tmp_path / "screen").open("w"))
    view = LiveTable("runs", {}, console=console)
    view.begin([Row(FitJob("[/]:smile:", "[red]1", tmp_path, {}))])
    view.end()
    assert "[/]:smile:" in console.export_text()


def test_a_plan_with_a_label_that_leads_elsewhere_is_damaged(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA}, (1,), 40)
    content = json.loads((tmp_path / "plan.json").read_text())
    content["recipes"][0]["label"] = "../../elsewhere"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="has a path separator in it"):
        read_plan(tmp_path)


def test_text_in_markdown_is_what_it_was() -> None:
    assert escaped("a|b $x$ <i> &amp; ~~c~~\nd") == r"a\|b \$x\$ \<i\> \&amp; \~\~c\~\~ d"
    assert visible("plain ünï 👩‍💻") == "plain ünï 👩‍💻"
    assert visible("a\n\x1b\u202e") == r"a\n\x1b\u202e"
