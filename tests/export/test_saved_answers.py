from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import pytest

from peft_lightning.errors import UserError
from peft_lightning.export.exporting import read_run
from peft_lightning.export.saved_answers import SavedAnswers, read_saved_answers
from tests.export.conftest import Trained


def read(run: Path, examples: int | None = None, source: str | None = None) -> SavedAnswers:
    record, config = read_run(run)
    return read_saved_answers(run, record, config, examples, source)


def test_texts_are_those_that_were_answered(trained: Trained, reviews: Path, tmp_path: Path) -> None:
    run = trained()
    whole = read(run)
    assert len(whole.texts) == len(whole.answers.ids) == 16
    # Every text says in its last words which row of the test file it is; its label is the row's.
    rows = [int(text.partition("said viewer ")[2].split()[0]) for text in cast("list[str]", whole.texts)]
    assert rows == whole.answers.ids.tolist()
    assert [row % 2 for row in rows] == whole.answers.labels.tolist()

    some = read(run, examples=5)
    assert some.texts == [whole.texts[place] for place in (0, 4, 8, 11, 15)]
    assert some.answers.ids.tolist() == [rows[place] for place in (0, 4, 8, 11, 15)]

    moved = tmp_path / "moved"
    shutil.copytree(reviews, moved)
    assert read(run, source=str(moved)).texts == whole.texts


def test_a_source_with_other_texts_is_refused(trained: Trained, reviews: Path) -> None:
    file = reviews / "test.jsonl"
    file.write_text(file.read_text().replace("a dull and clumsy film", "a dull and clumsy one"))
    with pytest.raises(UserError, match=r"no longer holds the texts .* with source"):
        read(trained(), source=str(reviews))


def test_without_a_test_there_is_nothing_to_prove_by(trained: Trained) -> None:
    run = trained()
    answers = run / "predictions.parquet"
    later = run / "test_0"
    later.mkdir()
    shutil.move(answers, later)
    (later / "metrics.json").write_text('{"checkpoint": "elsewhere/best.ckpt"}')
    with pytest.raises(UserError, match=r"test its best checkpoint with test --config .*config\.yaml --ckpt_path best"):
        read(run)
    (later / "metrics.json").write_text(f'{{"checkpoint": "{run / "checkpoints" / "best.ckpt"}"}}')
    assert read(run).source == later / "predictions.parquet"


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(UserError, match="nowhere holds no run"):
        read_run(Path("nowhere"))
