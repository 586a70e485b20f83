from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from peft_lightning.callbacks import progress_file
from peft_lightning.callbacks.progress_file import asked_for
from peft_lightning.runs.progress import VARIABLE, Progress, forget_progress, read_progress
from tests.integration.offline_run import checkpoint, history, only_run, record, same


def test_nobody_who_does_not_ask_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert asked_for() == []


@pytest.mark.slow
def test_a_run_says_how_far_it_is_and_stays_what_it_is(
    tiny_fit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Progress] = []
    path = tmp_path / "progress.json"
    write = Progress.write

    def keep(progress: Progress, to: Path) -> None:
        write(progress, to)
        written = read_progress(to)
        assert written == progress
        said.append(progress)

    monkeypatch.setattr(Progress, "write", keep)
    monkeypatch.setattr(progress_file, "INTERVAL_S", 0.0)
    monkeypatch.setenv(VARIABLE, str(path))
    main(tiny_fit)
    told = only_run(Path())
    assert [(p.stage, p.step) for p in said] == [
        *(("train", step) for step in range(5)),
        *(("validate", 4), ("test", 4)),
    ]
    assert {p.steps for p in said} == {4}
    assert said[-1].train_s == pytest.approx(record(told)["time"]["train_s"])

    monkeypatch.delenv(VARIABLE)
    main(tiny_fit)
    alone = told.with_name("version_1")
    assert history(told) == history(alone)
    ours, theirs = (checkpoint(run / "checkpoints/last.ckpt") for run in (told, alone))
    assert same(ours["state_dict"], theirs["state_dict"])
    assert ours["callbacks"].keys() == theirs["callbacks"].keys()


@pytest.mark.slow
def test_a_stage_is_said_at_once_however_short_the_one_before_was(
    tiny_fit: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(Progress, "write", lambda progress, to: said.append((progress.stage, progress.step)))
    monkeypatch.setattr(progress_file, "INTERVAL_S", 600.0)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "progress.json"))
    main([*tiny_fit, "--trainer.max_epochs", "2"])
    assert said == [("train", 0), ("validate", 4), ("train", 5), ("validate", 8), ("test", 8)]


def test_a_place_that_cannot_be_written_ends_no_run(tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/progress.json")
    main(tiny_fit)
    assert record(only_run(Path()))["status"] == "finished"


def test_what_is_not_there_or_torn_is_no_progress(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) is None
    for text in ("", "{", "[]", '{"stage": "train"}'):
        path.write_text(text)
        assert read_progress(path) is None
    forget_progress(path)
    forget_progress(path)
    assert not path.exists()
