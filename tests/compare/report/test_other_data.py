import json
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.figures import Figures, summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.other_data import other_data
from peft_lightning.compare.report.ranking import Recommendation
from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.recommendations import recommend
from peft_lightning.compare.report.sections.pictures import tradeoffs
from peft_lightning.task import FIRST
from tests.compare.report.records import FOUR, LORA, Made, comparison, plan, write_run

# Better in everything than what is compared, because its data was less and easier.
EASY = replace(LORA, accuracy=1.0, spread=0.0, gpu=0.1, train_s=3.8, checkpoint=1000, settings={"label_smoothing": 0.1})
CPU = {label: replace(FOUR[label], gpu=None, cpu=1.0) for label in ("lora", "ia3")}


def with_easy(folder: Path, recipes: dict[str, Made], easy: Made = EASY) -> Path:
    """A comparison, and a run on other data beside it."""
    comparison(folder / "mine", recipes, (1, 2), 200)
    return write_run(
        folder / "logs" / "version_2", easy, 1, "tuned/lora", 200, fingerprint="e" * 64, source="embedded", n_train=300
    )


def rows_and_cards(folder: Path, *others: Path) -> tuple[tuple[Figures, ...], dict[str, Recommendation]]:
    study = read_study(folder / "mine", others)
    findings = find(study)
    rows = summarise(study, findings)
    return rows, {one.question: one for one in recommend(rows, findings.statistics, FIRST.headline)}


@pytest.mark.parametrize("paired", [False, True], ids=["other reviews", "the same reviews"])
def test_a_run_on_other_data_wins_nothing_and_every_card_says_so(tmp_path: Path, paired: bool) -> None:
    joined = with_easy(tmp_path, FOUR)
    if paired:  # on more or fewer texts of the same source, tested on the same reviews
        record = json.loads((joined / "results.json").read_text())
        record["dataset"]["source"] = "films"
        (joined / "results.json").write_text(json.dumps(record))
    _, with_it = rows_and_cards(tmp_path, joined)
    _, without = rows_and_cards(tmp_path)
    assert len(with_it) == 4
    for question, card in with_it.items():
        assert (card.answer, card.figure) == (without[question].answer, without[question].figure)
        head, _, tail = card.reason.partition("Not compared, on other data: ")
        assert tail == "tuned-lora."
        assert "tuned-lora" not in head


def test_a_run_on_other_data_is_on_no_front(tmp_path: Path) -> None:
    rows, _ = rows_and_cards(tmp_path, with_easy(tmp_path, FOUR))
    content = tradeoffs(rows, FIRST.headline)
    assert len(content["tradeoffs"]) == 2
    assert not any("tuned-lora" in one["caption"] + one["svg"] for one in content["tradeoffs"])
    assert "On other data, and so in no picture of cost: tuned-lora." in content["no_tradeoffs"]


def test_on_a_cpu_its_process_is_not_the_smallest(tmp_path: Path) -> None:
    joined = with_easy(tmp_path, CPU, replace(EASY, gpu=None, cpu=0.1))
    smallest = rows_and_cards(tmp_path, joined)[1]["Smallest GPU"]
    assert "On this CPU the processes of lora and ia3 took 1.00 GiB. Not compared" in smallest.reason


def test_a_gpu_that_only_it_used_is_not_denied(tmp_path: Path) -> None:
    smallest = rows_and_cards(tmp_path, with_easy(tmp_path, CPU))[1]["Smallest GPU"]
    assert smallest.answer == ""
    assert smallest.reason.startswith("No run on the comparison's own data used a GPU")


def test_table_terminal_and_page_say_what_its_data_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joined = with_easy(tmp_path, FOUR)
    write_report(tmp_path / "mine", [joined])
    said = (
        "tuned-lora ran on other data than the comparison's own recipes (300 texts to train on, 300 to validate on,"
        " 200 to test on, cut at 256 tokens)"
    )
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in (tmp_path / "mine" / "report.html").read_text().replace("&#39;", "'")
    (row,) = [line for line in (tmp_path / "mine" / "table.md").read_text().splitlines() if "tuned-lora" in line]
    assert "| 1 seed, other data |" in row


@pytest.mark.parametrize(("change", "other"), [({}, False), ({"max_length": 128}, True), ({"source": "copy"}, False)])
def test_the_same_texts_cut_alike_are_the_same_data_wherever_they_lie(
    tmp_path: Path, change: dict[str, object], other: bool
) -> None:
    comparison(tmp_path / "mine", FOUR, (1,), 60)
    joined = write_run(tmp_path / "logs" / "version_0", EASY, 1, "more", 60)
    record = json.loads((joined / "results.json").read_text())
    record["dataset"] |= change
    (joined / "results.json").write_text(json.dumps(record))
    assert ("more" in other_data(read_study(tmp_path / "mine", [joined]))) is other


def test_the_comparison_s_own_recipes_are_never_other_data(tmp_path: Path) -> None:
    for run in plan(FOUR, (1,), tmp_path).runs(tmp_path):
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        write_run(directory, FOUR[run.label], 1, run.label, 60, n_train=3000 if run.label != "ia3" else 300)
    assert other_data(read_study(tmp_path)) == {}


def test_beside_a_comparison_that_has_not_begun_nothing_is_other_data(tmp_path: Path) -> None:
    plan(FOUR, (1,), tmp_path / "mine")
    joined = write_run(tmp_path / "logs" / "version_0", EASY, 1, "more", 60)
    assert other_data(read_study(tmp_path / "mine", [joined])) == {}
