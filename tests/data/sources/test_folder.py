from collections.abc import Callable
from pathlib import Path

import datasets
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


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev"])
def test_a_validation_file_or_folder_is_a_split(write: Write, tmp_path: Path, name: str) -> None:
    for split in ("train", "test", name):
        write(f"tables/{split}.csv", TABLE.replace("good", split))
        write(f"folders/{split}/a/1.txt", split)
        write(f"folders/{split}/b/1.txt", split)
    for folder in ("tables", "folders"):
        found = chosen(tmp_path / folder)
        assert found.val is not None
        assert (found.val.texts[0], found.val_name) == (name, name)


def test_class_folders_and_tables_under_other_names(write: Write, tmp_path: Path) -> None:
    for fold in ("one", "two"):
        write(f"{fold}/a/1.txt", f"a {fold}")
        write(f"{fold}/b/1.txt", f"b {fold}")
    write("held.tsv", TABLE.replace(",", "\t"))
    found = chosen(tmp_path, train_split="two", val_split="one", test_split="held")
    assert found.val is not None
    assert found.test is not None
    assert [split.texts[0] for split in (found.train, found.val, found.test)] == ["a two", "a one", "good"]
    with pytest.raises(UserError, match=r"or one of its splits \(held, one, two\) with train_split"):
        chosen(tmp_path)


def sharded(folder: Path, *names: str) -> Path:
    """A folder of Parquet files of two rows each, whose texts name the file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = {"text": [f"{name} 0", f"{name} 1"], "label": [0, 1]}
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
        )
        datasets.Dataset.from_dict(rows, features).to_parquet(folder / f"{name}.parquet")
    return folder


SHARDS = ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001-0a1b2c3d")


@pytest.mark.parametrize("place", ["data", "."])
def test_shards_follow_each_other(tmp_path: Path, place: str) -> None:
    folder = sharded(tmp_path / "hub" / place, *SHARDS)
    for source in {folder, tmp_path / "hub"}:
        found = chosen(source)
        assert found.train.texts == [f"{shard} {row}" for shard in SHARDS[:2] for row in (0, 1)]
        assert (found.train.labels, found.train.label_names) == ([0, 1, 0, 1], ["neg", "pos"])
        assert found.val is not None
        assert found.test is not None
        assert found.test.texts[0] == f"{SHARDS[3]} 0"


def test_a_row_of_a_shard_is_named_by_its_file(write: Write, tmp_path: Path) -> None:
    write("train-00000-of-00002.csv", TABLE)
    write("train-00001-of-00002.csv", TABLE.replace("bad", " "))
    with pytest.raises(UserError, match=r"the text in row 2 of .*train-00001-of-00002.csv is blank"):
        chosen(tmp_path)


def test_a_lacking_shard_is_missed(tmp_path: Path) -> None:
    sharded(tmp_path, "train-00000-of-00003", "train-00002-of-00003")
    with pytest.raises(UserError, match=r"has no shard 00001 of train-00000-of-00003.parquet: .* not whole"):
        chosen(tmp_path)


def test_a_split_may_be_a_folder_of_tables(tmp_path: Path) -> None:
    sharded(tmp_path / "train", "0000", "0001")
    sharded(tmp_path / "test", "0000")
    train, test = train_and_test(tmp_path)
    assert train.texts == ["0000 0", "0000 1", "0001 0", "0001 1"]
    assert test is not None


def test_shards_that_name_their_labels_otherwise_are_refused(tmp_path: Path) -> None:
    sharded(tmp_path, *SHARDS[:2])
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    datasets.Dataset.from_dict({"text": ["x"], "label": [0]}, features).to_parquet(tmp_path / f"{SHARDS[1]}.parquet")
    with pytest.raises(UserError, match="names its labels otherwise than"):
        chosen(tmp_path)


def test_what_save_to_disk_leaves(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    whole = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]}, features)
    whole.select([2, 0]).save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=whole, dev=whole, test=whole.select([1])).save_to_disk(tmp_path / "several")
    one, several = chosen(tmp_path / "one"), chosen(tmp_path / "several")
    assert (one.train.texts, one.train.labels, one.train.label_names) == (["c", "a"], [0, 0], ["neg", "pos"])
    assert one.test is None
    assert (several.val_name, several.test_name) == ("dev", "test")
    assert several.test is not None
    assert several.test.texts == ["b"]
    assert chosen(tmp_path / "several", train_split="dev", test_split="train").train.texts == ["a", "b", "c"]
    with pytest.raises(UserError, match=r"has no split 'validation' \(it has train, dev, test\)"):
        chosen(tmp_path / "several", val_split="validation")
    with pytest.raises(UserError, match="without configurations: leave out configuration"):
        chosen(tmp_path / "several", configuration="sst2")


README = """---
configs:
- config_name: sst2
  data_files:
  - split: train
    path: sst2/train-*
- config_name: cola
  data_files:
  - split: train
    path: cola/train-*
---
"""


@pytest.mark.parametrize("described", [True, False], ids=["README", "folders"])
def test_configurations_of_a_local_copy(write: Write, tmp_path: Path, described: bool) -> None:
    for name in ("sst2", "cola"):
        sharded(tmp_path / name, *SHARDS[:2])
    if described:
        write("README.md", README)
    assert len(chosen(tmp_path, configuration="sst2").train.texts) == 4
    with pytest.raises(UserError, match=r"needs a configuration \(it has (sst2, cola|cola, sst2)\): name one with con"):
        chosen(tmp_path)
    with pytest.raises(UserError, match=r"has no configuration 'mnli' \(it has (sst2, cola|cola, sst2)\)"):
        chosen(tmp_path, configuration="mnli")


def test_a_folder_without_configurations(write: Write, tmp_path: Path) -> None:
    write("train.csv", TABLE)
    with pytest.raises(UserError, match="has no configurations: leave out configuration"):
        chosen(tmp_path, configuration="sst2")


def test_a_test_table_without_the_label_column_has_no_labels(write: Write, tmp_path: Path) -> None:
    write("train.csv", TABLE)
    write("test.csv", "id,text\n1,so so\n")
    with pytest.raises(UserError, match=r"the split test of .* has no labels .* test_split='train'"):
        chosen(tmp_path)
    write("val.csv", TABLE)
    assert chosen(tmp_path).test_name == "val"
    assert chosen(tmp_path, test_split="train").test is None


def test_a_class_folder_whose_name_no_encoding_can_write(write: Write, tmp_path: Path) -> None:
    write("train/a/1.txt", "x")
    odd = tmp_path / "train" / "caf\udce9"
    odd.mkdir()
    (odd / "1.txt").write_text("y")
    with pytest.raises(UserError, match=r"the name of the class folder .*caf\\udce9' is not UTF-8: rename it"):
        chosen(tmp_path)
