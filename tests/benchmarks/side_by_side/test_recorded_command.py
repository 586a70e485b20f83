"""The recorded command: it can be shared, and it still runs in a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from side_by_side.recorded_command import parsed, recorded

BF16 = "bf16=--trainer.precision bf16-mixed"


def test_no_path_of_the_machine_is_recorded_and_everything_else_is(tmp_path: Path) -> None:
    home = str(tmp_path / "a b")  # a space, as shells have to be told
    Path(home).mkdir()
    words = ["--reviews", home, "--shape", home, "--out", f"{home}/new", "--adapters_site", home]
    words += ["--steps", "200", "--ours", BF16, "--whole_job"]
    line = recorded(words)
    assert "/" not in line.removeprefix("python benchmarks/vs_peers.py")
    places = ["--reviews", "DIR", "--shape", "DIR", "--out", "DIR", "--adapters_site", "DIR"]
    assert shlex.split(line)[2:] == [*places, "--steps", "200", "--ours", BF16, "--whole_job"]
    assert parsed(shlex.split(line)[2:], None).ours == [("bf16", ("--trainer.precision", "bf16-mixed"))]


@pytest.mark.parametrize("written", [["--adapters_site={}"], ["--adap={}"], ["--adap", "{}"]])
def test_a_path_is_found_however_argparse_lets_it_be_written(written: list[str], tmp_path: Path) -> None:
    words = [word.format(tmp_path) for word in written]
    assert parsed(["--reviews", "r", "--shape", "s", "--out", "o", *words], None).adapters_site == tmp_path
    assert str(tmp_path) not in recorded(words)
    assert recorded(words).endswith("DIR")


def test_a_word_that_says_what_was_measured_stays(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.touch()
    assert recorded(["--backbone", "embedded", "--reviews", "imdb"]).endswith("--backbone embedded --reviews imdb")
    assert recorded(["--reviews", str(file)]).endswith("--reviews FILE")
    words = ["--shape", "qwen2.5-7b", "--scratch", str(tmp_path)]
    assert recorded(words).endswith("--shape qwen2.5-7b --scratch DIR")


@pytest.mark.parametrize("words", [["--devices", "0"], ["--trial_variants", "0"]])
def test_counts_of_none_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(["--reviews", "r", "--shape", "s", "--out", "o", *words], None)
    assert words[0] in capsys.readouterr().err.splitlines()[-1]
