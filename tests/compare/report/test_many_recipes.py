"""A report of more recipes than can be read pair by pair: ranked, grouped, as a matrix."""

import itertools
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.baseline import baseline_in_words, compared_with_baseline
from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import Findings, best_first, find
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.sections.difference_matrix import describe_matrix
from peft_lightning.compare.report.study import MANY, Study
from peft_lightning.errors import UserError
from peft_lightning.task import FIRST
from tests.compare.report.records import FOUR, IA3, LORA, comparison, plan, tournament, tune, write_run

ACCURACY = FIRST.headline
RECIPES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tournament(tmp_path_factory.mktemp("tournament"), RECIPES, 2, 600)
    tune(folder, {f"method_{number:02d}": 5 for number in range(RECIPES)})
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    """The page, written once, with a recipe of the middle as baseline."""
    write_report(folder, texts=False, baseline="method_05")
    return (folder / "report.html").read_text()


Known = tuple[Study, Findings, tuple[Figures, ...]]


@pytest.fixture(scope="module")
def known(folder: Path) -> Known:
    study = read_study(folder, baseline="method_05")
    findings = find(study)
    ranked = best_first(study, findings)
    return ranked, findings, summarise(ranked, findings)


def test_recipes_are_ranked_by_their_score_in_the_table_and_as_planned_in_the_csv(
    folder: Path, page: str, known: Known
) -> None:
    values = [row.headline for row in known[2]]
    assert values == sorted(values, key=lambda value: -(value or 0))
    rows = (folder / "table.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ").replace("\\", "") for row in rows] == [row.label for row in known[2]]
    assert (folder / "results.csv").read_text().splitlines()[1].startswith("method_00,1,")


def test_two_recipes_share_a_letter_if_and_only_if_they_are_not_told_apart(known: Known) -> None:
    _, findings, rows = known
    assert findings.statistics is not None
    letters = {row.label: set(row.letters) for row in rows}
    told_apart = {(pair.first, pair.second): pair.told_apart for pair in findings.statistics.differences}
    assert set(told_apart.values()) == {True, False}
    for pair, differs in told_apart.items():
        assert bool(letters[pair[0]] & letters[pair[1]]) is not differs


def test_the_matrix_holds_every_pair_twice_with_its_sign(known: Known) -> None:
    _, findings, _ = known
    assert findings.statistics is not None
    matrix = describe_matrix(findings, ACCURACY)
    assert matrix is not None
    pairs = {(pair.first, pair.second): pair for pair in findings.statistics.differences}
    labels = [row["label"] for row in matrix["rows"]]
    for (row, first), (column, second) in itertools.product(enumerate(labels), repeat=2):
        cell = matrix["rows"][row]["cells"][column]
        if first == second:
            assert cell is None
            continue
        pair, sign = (pairs[first, second], 1) if (first, second) in pairs else (pairs[second, first], -1)
        difference = sign * pair.difference
        assert cell["difference"] == ACCURACY.difference(difference, signed=True)
        assert cell["sign"] == ("≈" if not pair.told_apart else "▲" if difference > 0 else "▼")


def test_the_page_has_a_matrix_groups_and_one_picture_of_curves_in_place_of_lists(page: str) -> None:
    pairs = RECIPES * (RECIPES - 1)
    assert len(re.findall(r'<td class="(?:better|worse|alike)" title=', page)) == pairs
    assert f"The {pairs // 2} pairs as a list" in page
    assert "are not told apart by" not in page
    assert 'aria-label="Learning curves of 12 recipes; in colour method_05, ' in page
    assert page.count('<span class="key" style="background: var(--series-') == 8
    assert page.count('scope="rowgroup"') == 0
    assert "● " in page


def test_points_and_lines_without_a_label_have_their_name_where_one_points(page: str) -> None:
    for number in range(RECIPES):
        assert page.count(f"<title>method_{number:02d}</title>") == 2
        assert page.count(f"<title>method_{number:02d}: ") == 2
    memory = page[page.index('aria-label="Test accuracy against peak GPU memory') :]
    named = re.findall(r">(method_\d\d)</text>", memory[: memory.index("</svg>")])
    assert "method_05" in named
    assert len(named) == len(set(named)) < RECIPES


def test_the_baseline_s_betters_and_equals_are_named_with_what_they_cost(known: Known) -> None:
    study, findings, rows = known
    compared = compared_with_baseline(findings, rows)
    assert len(compared) == RECIPES - 1
    verdicts = [one.verdict for one in compared]
    assert {"not told apart", "worse"} <= set(verdicts)
    by_label = {row.label: row for row in rows}
    first, base = by_label[compared[0].pair.first], by_label["method_05"]
    assert first.train_s is not None
    assert base.train_s is not None
    assert compared[0].costs[0] == pytest.approx(first.train_s / base.train_s)
    sentences = baseline_in_words(study, compared, ACCURACY, every_cost=True)
    assert sentences[0].startswith("Against the baseline method_05, corrected for these 11 comparisons alone")
    for kind, beginning in (("not told apart", "Not told apart from"), ("worse", "Worse than")):
        (sentence,) = [sentence for sentence in sentences if sentence.startswith(f"{beginning} method_05: ")]
        listed = re.findall(r"method_\d\d(?= [+−0])", sentence)
        assert listed == [one.pair.first for one in compared if one.verdict == kind]
        assert ("train time" in sentence) is (kind != "worse")


def test_a_baseline_tells_apart_what_all_pairs_do_not(known: Known) -> None:
    _, findings, _ = known
    assert findings.statistics is not None
    of_all = {frozenset((pair.first, pair.second)): pair.corrected_p_value for pair in findings.statistics.differences}
    for pair in findings.against:
        assert pair.p_value <= pair.corrected_p_value <= of_all[frozenset((pair.first, pair.second))] + 1e-12


@pytest.mark.slow
def test_few_recipes_have_a_baseline_too_and_no_letters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(FOUR, (1, 2), tmp_path)
    content = json.loads((tmp_path / "plan.json").read_text()) | {"baseline": "lora"}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    made = {**FOUR, "ia3": replace(IA3, accuracy=0.7)}
    for run in read_study(tmp_path).plan.runs(tmp_path):
        write_run(run.folder / "lightning_logs" / run.label / "version_0", made[run.label], run.seed, run.label, 300)
    write_report(tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Against the baseline lora, corrected for these 3 comparisons alone" in printed
    assert "Worse than lora: ia3 −" in printed
    assert "group" not in (tmp_path / "table.md").read_text()
    assert 'id="against"' in (tmp_path / "report.html").read_text()


def test_a_baseline_that_is_no_recipe_is_one_line_and_names_those_there_are(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 20)
    with pytest.raises(UserError, match="--baseline vera is none of the recipes: there are lora, ia3"):
        write_report(folder, baseline="vera")
    assert not (folder / "report.html").exists()


def test_a_baseline_without_results_says_so(tmp_path: Path) -> None:
    folder = comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1,), 20)
    next((folder / "runs/lora").rglob("predictions.parquet")).unlink()
    study = read_study(folder, baseline="lora")
    findings = find(study)
    compared = compared_with_baseline(findings, summarise(study, findings))
    assert baseline_in_words(study, compared, ACCURACY, True) == (
        "Nothing is compared with lora: it takes its answers and another recipe's.",
    )


def test_a_report_to_share_holds_numbers_of_reviews_and_no_texts(
    folder: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture's report was made without texts: it never opened its source, and shows ids and counts alone."""
    disputed = page[page.index('id="disagreements"') : page.index('id="tuning"')]
    assert "the texts are left out of this report" in disputed
    assert re.findall(r'<tr><th scope="row">\d+</th><td>\w+</td><td class="number">\d+ of 12</td></tr>', disputed)
    assert "<blockquote>" not in page
    for name in ("report.html", "table.md", "results.csv"):
        assert str(folder.parent) not in (folder / name).read_text()


@pytest.mark.slow
def test_forty_recipes_of_five_seeds_are_reported_in_seconds_and_one_megabyte(tmp_path: Path) -> None:
    folder = tournament(tmp_path)
    begun = time.process_time()
    write_report(folder, baseline="method_10")
    assert time.process_time() - begun < 15
    assert (folder / "report.html").stat().st_size < 1.5e6
    assert MANY <= 40
