import re
from pathlib import Path

import pytest
import yaml

from peft_lightning.__main__ import main
from peft_lightning.compare.report import write_report
from peft_lightning.errors import UserError
from tests.compare.report.records import IA3, LORA, comparison
from tests.compare.report.test_writing import FILES, runs, table
from tests.samples import mostly_slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1, 2), 60)


def spoil_settings(folder: Path) -> None:
    """Leaves a learning rate that is a word."""
    for path in folder.glob("runs/*/*/lightning_logs/*/*/config.yaml"):
        config = yaml.safe_load(path.read_text())
        config["model"]["learning_rate"] = "fast"
        path.write_text(yaml.safe_dump(config))


def section(page: str, name: str) -> str:
    return page[page.index(f'<h2 id="{name}">') :].split("</section>")[0]


def test_a_section_that_fails_says_so_in_its_place_and_costs_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(folder)
    whole = (folder / "report.html").read_text()
    spoil_settings(folder)
    (sentence,) = write_report(folder)
    assert sentence.startswith("What differs beyond the method is left out: ValueError: ")
    assert sentence in " ".join(capsys.readouterr().out.split())
    page = (folder / "report.html").read_text()
    assert section(page, "fairness").count('<p class="notice" role="note">') == 1
    assert "What differs beyond the method is left out" in section(page, "fairness")
    for name in ("table", "accuracy", "costs", "curves", "memory", "tests", "confusion", "disagreements"):
        assert section(page, name) == section(whole, name)
    assert [row["seeds done"] for row in table(folder)] == ["2 seeds", "2 seeds"]
    assert [row["status"] for row in runs(folder)] == ["finished"] * 4


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_picture_that_matplotlib_cannot_draw_costs_its_section(folder: Path) -> None:
    # The sum of two such losses is infinite, and no axis of Matplotlib is.
    history = next(folder.glob("runs/lora/seed_1/lightning_logs/lora/version_0/history.csv"))
    history.write_text("1,train/loss,1e308\n2,train/loss,1e308\n")
    (sentence,) = write_report(folder)
    assert sentence == "The learning curves are left out: ValueError: Axis limits cannot be NaN or Inf."
    page = (folder / "report.html").read_text()
    assert sentence in section(page, "curves")
    assert "No run left a history" not in page
    assert '<a href="#curves">' in page
    for other in ("memory", "accuracy", "costs"):
        assert "left out" not in section(page, other)
        assert "<svg" in section(page, other)
    assert [row["test accuracy"][-1] for row in table(folder)] == ["%", "%"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "failing",
    [
        *("writing.find", "writing.verdict", "writing.as_csv", "writing.render_page"),
        *("page.recommend", "page.describe_tuning", "page.describe_surroundings"),
    ],
)
def test_whatever_fails_the_table_is_there(failing: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no <b>such</b> luck")

    monkeypatch.setattr(f"peft_lightning.compare.report.{failing}", fail)
    left_out = write_report(folder)
    assert len(left_out) == 1
    assert left_out[0].endswith("left out: ZeroDivisionError: no <b>such</b> luck.")
    assert [row["recipe"] for row in table(folder)] == ["lora", "ia3"]
    assert all(row["test accuracy"].endswith(" %") for row in table(folder))
    page = (folder / "report.html").read_text()
    assert "ZeroDivisionError: no &lt;b&gt;such&lt;/b&gt; luck" in page
    assert "lora" in page
    assert "<b>such" not in page
    assert (folder / "results.csv").exists() == (failing != "writing.as_csv")


@pytest.mark.slow
def test_report_ends_with_code_1_where_a_section_fails_and_says_so_in_its_help(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", str(folder)])
    spoil_settings(folder)
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder)])
    assert ended.value.code == 1
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    assert "1 if a part of it could not be made" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", mostly_slow(FILES, fast=["report.html"]))
def test_a_file_in_the_way_costs_no_other_file_and_no_table(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).mkdir()
    with pytest.raises(UserError, match=rf"cannot write .*{re.escape(name)} .*: make its folder writable"):
        write_report(folder)
    others = [other for other in FILES if other != name]
    assert all((folder / other).stat().st_size > 100 for other in others)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Most accurate" in printed
    written = printed.rsplit("written to ", 1)[1]
    assert name not in written
    assert all(other in written for other in others)
