from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.folder import read_folder
from peft_lightning.data.sources.splits import Chosen, SourceOptions, choose_splits
from peft_lightning.errors import UserError

Write = Callable[[str, str | bytes], Path]
TABLE = "text,label\ngood,1\nbad,0\n"


def chosen(folder: Path, **asked: str) -> Chosen:
    options = SourceOptions(**asked)  # type: ignore[arg-type]
    return choose_splits(read_folder(folder, "text", "label", options), options)


def train_and_test(folder: Path) -> tuple[RawSplit, RawSplit | None]:
    found = chosen(folder)
    return found.train, found.test


def test_the_layout_of_aclimdb(write: Write, tmp_path: Path) -> None:
    for name in ("train/pos/1_9.txt", "train/pos/0_8.txt", "train/neg/0_1.txt", "test/neg/0_2.txt", "test/pos/3_7.txt"):
        write(name, f"\ufeffreview {name}")
    for name in ("train/unsup/0_0.txt", "train/notes/readme.md", "train/labeledBow.feat", "train/pos/urls.md"):
        write(name, "ignored")
    train, test = train_and_test(tmp_path)
    assert train.texts == [f"review train/{name}.txt" for name in ("neg/0_1", "pos/0_8", "pos/1_9")]
    assert train.labels == ["neg", "pos", "pos"]
    assert test is not None
    assert test.labels == ["neg", "pos"]


def test_class_folders_without_a_test_split(write: Write, tmp_path: Path) -> None:
    write("train/a/1.txt", "x")
    write("train/b/1.txt", "y")
    assert train_and_test(tmp_path)[1] is None


def test_a_blank_or_undecodable_review_is_named_by_its_file(write: Write, tmp_path: Path) -> None:
    write("train/a/1.txt", "x")
    blank = write("train/b/1.txt", " \n")
    with pytest.raises(UserError, match=r"the text in .*train/b/1.txt is blank"):
        train_and_test(tmp_path)
    blank.write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"train/b/1.txt is not UTF-8"):
        train_and_test(tmp_path)


def test_tables_one_a_split_in_any_format(write: Write, tmp_path: Path) -> None:
    write("train.csv", TABLE)
    write("test.jsonl", '{"text": "so so", "label": "1"}\n')
    write("unsupervised.csv", "text,label\nnobody knows,-1\n")
    train, test = train_and_test(tmp_path)
    assert train.texts == ["good", "bad"]
    assert test is not None
    assert test.texts == ["so so"]


def test_two_tables_for_one_split_are_refused(write: Write, tmp_path: Path) -> None:
    write("train.csv", TABLE)
    write("train.tsv", TABLE)
    with pytest.raises(UserError, match=r"has train.csv and train.tsv: keep one of them"):
        train_and_test(tmp_path)


def test_a_folder_without_either_layout(write: Write, tmp_path: Path) -> None:
    write("reviews.csv", TABLE)
    write("train/readme.md", "")
    with pytest.raises(UserError, match=r"has neither train/CLASS/\*\.txt nor a train file"):
        train_and_test(tmp_path)
