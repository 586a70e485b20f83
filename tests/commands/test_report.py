import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from peft_lightning.compare.plan.comparison_folder import keep_texts_out
from peft_lightning.compare.plan.sweep import Sweep
from tests.compare.report.records import IA3, LORA, comparison, write_run

HEAVY = "torch lightning transformers peft bitsandbytes"


def test_a_report_is_written_into_the_comparison_s_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = comparison(tmp_path / "mine", {"lora": LORA}, (1, 2), 60)
    other = write_run(tmp_path / "version_0", LORA, 3, "lora", 60)
    main(["report", str(folder), str(other), "--no_texts"])
    assert {path.name for path in folder.iterdir()} >= {"report.html", "table.md", "results.csv"}
    assert "3 seeds" in capsys.readouterr().out


def test_a_comparison_that_was_to_show_no_texts_shows_none_in_a_later_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = comparison(tmp_path / "mine", {"lora": LORA}, (1, 2), 60)
    shown: list[bool] = []

    def write(folder: Path, others: object, texts: bool, *chosen: str | None) -> None:
        shown.append(texts)

    monkeypatch.setattr("peft_lightning.compare.report.write_report", write)
    main(["report", str(folder)])
    keep_texts_out(folder)
    main(["report", str(folder)])
    assert shown == [True, False]


def test_a_report_takes_a_metric_and_refuses_one_of_another_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = comparison(tmp_path / "mine", {"lora": LORA}, (1,), 60)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder), "--metric", "pearson"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--metric pearson is no metric that recipes can be compared by: single_label_classification has acc" in line
    assert "f1.positive" in line or "f1.negative" in line
    assert not (folder / "report.html").exists()
    given: list[tuple[str | None, ...]] = []
    monkeypatch.setattr("peft_lightning.compare.report.write_report", lambda *words: given.append(words[3:]))
    main(["report", str(folder), "--metric", "mcc"])
    assert given == [(None, "mcc")]


def test_files_for_peft_s_application_are_of_one_value_of_a_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Sweep("data.n_train", ("100", "300")).write(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path), "--method_comparison", str(tmp_path / "files")])
    assert ended.value.code == 2
    assert f"name the folder of one, such as {tmp_path / 'n_train_100'}\n" in capsys.readouterr().err
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "report: the following arguments are required: folder ("),
        (["nowhere"], "nowhere holds no comparison (plan.json)"),
        (["nowhere", "--texts"], "report: unrecognized arguments: --texts"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", "--help"])
    assert ended.value.code == 0
    assert "--no_texts" in capsys.readouterr().out


@pytest.mark.slow
def test_neither_help_nor_a_report_waits_for_the_training_libraries(tmp_path: Path) -> None:
    # Two recipes that disagree: only then are the reviews' texts looked for, which takes the data's libraries.
    recipes = {"lora": LORA, "ia3": replace(IA3, accuracy=0.4)}
    folder = comparison(tmp_path / "mine", recipes, (1, 2), 60)
    for words in (["--help"], [str(folder), "--metric", "mcc"], [str(folder)]):
        program = (
            "import sys\nfrom peft_lightning.__main__ import main\n"
            f"try:\n    main(['report', *{words!r}])\nexcept SystemExit:\n    pass\n"
            f"loaded = [name for name in '{HEAVY}'.split() if name in sys.modules]\n"
            "assert not loaded, loaded\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
    assert "The texts are not shown" in (folder / "report.html").read_text()
