import os
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.errors import Setting, UserError
from peft_lightning.task import SingleLabel
from tests.data.bag import Bag, small_trainer
from tests.data.conftest import each

Make = Callable[..., TextDataModule]


def indices(loader: Any) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def test_what_is_there_after_setup(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    data = make(n_train=40, n_val=20, n_test=16)
    data.setup("fit")
    data.setup("test")
    assert data.task == SingleLabel(("0", "1"))
    assert data.baseline is not None
    assert data.baseline.value == 0.75
    assert [len(part) for part in (data.train, data.val, data.test)] == [40, 20, 16]
    truncated = sum(int(part.tokens.truncated.sum()) for part in (data.train, data.val, data.test))
    description = data.description()
    assert description.pop("fingerprint")
    assert description == {
        "source": data.source,
        "n_train": 40,
        "n_val": 20,
        "n_test": 16,
        "max_length": 24,
        "truncated_share": pytest.approx(truncated / 76),
        "windows": None,
        "val_split": None,
        "test_split": "test",
        "train_repeats": 0,
        "val_in_train": 0,
        "test_in_train": 0,
        "removed_from_train": 0,
        "train_labels": [30, 10],
    }
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "40 texts to train on, 20 to validate, 16 to test" in lines[0]
    assert f"{truncated / 76:.1%}" in lines[0]


def test_batches_hold_the_rows_they_say(make: Make, reviews_folder: Path, tokenizer: Any) -> None:
    import pandas as pd

    data = make(n_train=41, batch_size=8)
    data.setup("fit")
    rows = pd.read_parquet(reviews_folder / "train.parquet")
    batches = list(data.train_dataloader())
    assert [len(batch["index"]) for batch in batches].count(8) == len(batches) - 1 == 5
    for batch in batches:
        for ids, mask, label, row in zip(
            *map(batch.get, ("input_ids", "attention_mask", "labels", "index")), strict=True
        ):
            text = rows["text"][int(row)]
            assert ids[mask.bool()].tolist() == tokenizer(text, truncation=True, max_length=24)["input_ids"]
            assert set(ids[~mask.bool()].tolist()) <= {tokenizer.pad_token_id}
            assert label == rows["label"][int(row)]
        assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]


def test_subsets_follow_from_the_data_seed_and_the_order_from_torchs(make: Make) -> None:
    def orders(data_seed: int, torch_seed: int) -> tuple[set[int], list[list[int]]]:
        data = make(n_train=40, seed=data_seed)
        torch.manual_seed(torch_seed)
        data.setup("fit")
        return set(data.train.index.tolist()), indices(data.train_dataloader())

    rows, order = orders(1, 1)
    assert orders(1, 1) == (rows, order)
    assert orders(1, 2)[0] == rows
    assert orders(1, 2)[1] != order
    assert orders(2, 1)[0] != rows


def test_predict_reads_its_file_alone_in_the_files_order(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("the film is dull and slow and never fine\ngood\na plot\n")
    data = make(source="/nowhere", predict_file=str(path), eval_batch_size=2)
    data.prepare_data()
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert indices(batches) == [[0, 1], [2]]
    assert all("labels" not in batch for batch in batches)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 0}, "n_train 0 is too small: n_train takes 1 or more"),
        ({"n_val": -1}, "n_val -1 is too small"),
        ({"n_test": 0}, "n_test 0 is too small"),
        ({"seed": -1}, "seed -1 is too small"),
        ({"max_length": 7}, "max_length 7 is too small: max_length takes 8 or more"),
        ({"batch_size": 0}, "batch_size 0 is too small"),
        ({"eval_batch_size": 0}, "eval_batch_size 0 is too small"),
        ({"num_workers": -1}, "num_workers -1 is too small"),
        ({"source": "caf\udce9"}, r"source 'caf\\udce9' is not UTF-8, and no record could name it: rename it"),
        ({"label_column": "text"}, "text_column and label_column are both 'text'"),
    ],
)
def test_arguments_out_of_range(make: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 95}, "100 rows, and n_train 95 and n_val 10 are asked for: say fewer, or n_train=None"),
        ({"n_test": 41}, "40 rows, and n_test 41 is asked for: say fewer, or n_test=None"),
        # All at once: a recipe's sizes are for IMDb, and who brings less should not have to learn it one by one.
        (
            {"n_train": 3000, "n_test": 2000},
            "100 rows, and n_train 3,000 .* 40 rows, and n_test 2,000 .* or n_train=None n_test=None for all",
        ),
        ({"text_column": "review"}, "has no column 'review'"),
    ],
)
def test_data_that_does_not_fit_the_arguments(make: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**arguments).setup("fit")


def write_splits(folder: Path, **texts: list[str]) -> Path:
    """A folder with a JSON Lines file of these texts for each split, of two classes in turn."""
    import json

    folder.mkdir()
    for split, content in texts.items():
        lines = [json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(content)]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    return folder


def test_a_validation_split_of_the_source_validates(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {split: [f"{split} {n}" for n in range(20)] for split in ("train", "validation", "test")}
    folder = str(write_splits(tmp_path / "three", **texts))
    data = make(source=folder)
    data.setup("fit")
    assert [len(part) for part in (data.train, data.val, data.test)] == [20, 20, 20]
    assert data.description()["val_split"] == "validation"
    assert "; validated on the split validation\n" in capsys.readouterr().out
    fewer, other = make(source=folder, n_val=6, n_train=15), make(source=folder, val_split="train", n_val=6)
    for data in (fewer, other):
        data.setup("fit")
    assert [len(fewer.train), len(fewer.val), len(other.train), len(other.val)] == [15, 6, 14, 6]
    assert fewer.val.labels is not None
    assert fewer.val.labels.bincount().tolist() == [3, 3]
    assert other.description()["val_split"] is None
    with pytest.raises(UserError, match=r"the validation split has 20 rows, and n_val 21 is asked for: .* n_val=None"):
        make(source=folder, n_val=21).setup("fit")
    with pytest.raises(
        UserError, match=r"training split has 20 rows, and n_train 21 .*; the test split .* n_test=None"
    ):
        make(source=folder, n_train=21, n_test=30).setup("fit")


def test_texts_in_training_and_evaluation_are_counted_and_left_out(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = [f"film {n}" for n in range(40)]
    folder = str(write_splits(tmp_path / "leaky", train=[*train, *train[:4]], val=train[38:], test=train[30:35]))
    data = make(source=folder)
    data.setup("fit")
    names = ("train_repeats", "val_in_train", "test_in_train", "removed_from_train")
    assert [data.description()[name] for name in names] == [4, 2, 5, 0]
    said = capsys.readouterr().out.splitlines()[1]
    assert said.startswith("data: also in training: 5 of 5 test texts (100.0%) and 2 of 2 validation texts")
    clean = make(source=folder, deduplicate=True)
    clean.setup("fit")
    assert [clean.description()[name] for name in names] == [0, 0, 0, 11]
    assert clean.train.index.tolist() == [*range(30), *range(35, 38)]
    assert (len(clean.val), len(clean.test)) == (2, 5)
    assert capsys.readouterr().out.splitlines()[1].startswith("data: 11 duplicates were left out")


def test_of_pairs_the_lines_speak_of_pairs(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = [json.dumps({"text": f"film {n}", "claim": f"it is {n}", "label": n % 2}) + "\n" for n in range(40)]
    for split, rows in (("train", lines), ("test", lines[:5])):
        (folder / f"{split}.jsonl").write_text("".join(rows))
    make(source=str(folder), text_pair_column="claim", n_train=None, n_val=8).setup("fit")
    subsets, again = capsys.readouterr().out.splitlines()
    assert "32 pairs to train on, 8 to validate, 5 to test" in subsets
    assert " of 5 test pairs (" in again


def test_repeats_do_not_straddle_the_splits_of_one_file(make: Make, tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "one", train=[f"film {n // 4}" for n in range(200)])
    straddling, apart = (
        make(source=str(folder / "train.jsonl"), deduplicate=deduplicate) for deduplicate in (False, True)
    )
    for data in (straddling, apart):
        data.setup("fit")
    assert straddling.description()["test_in_train"] > 20
    rows = [part.index.tolist() for part in (apart.train, apart.val, apart.test)]
    assert sorted(chain(*rows)) == list(range(0, 200, 4))
    assert apart.description()["removed_from_train"] == 150


def test_when_no_text_is_left_to_train_on(make: Make, tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "same", train=["a", "b", "a"], test=["b", "a"])
    with pytest.raises(UserError, match=r"every text of .* is to be validated or tested on too, .* deduplicate"):
        make(source=str(folder), deduplicate=True).setup("fit")


def test_odd_texts_go_all_the_way(make: Make, tmp_path: Path, tokenizer: Any) -> None:
    odd = ["a\0b", "\u200b", "\ufffd\U0001f3ac", "\x7f\x85", "\ufeffmark", "\x1b[31mred", "\u202eright to left", '"']
    folder = write_splits(tmp_path / "odd", train=[*odd, *(f"film {n}" for n in range(20))], test=odd)
    data = make(source=str(folder), predict_file=str(folder / "test.jsonl"))
    data.setup("fit")
    data.setup("predict")
    for text, review in zip(odd, each(data.predict), strict=True):
        assert review["input_ids"].tolist() == tokenizer(text)["input_ids"]
    assert len(list(chain(*indices(data.predict_dataloader())))) == len(odd)


def test_how_a_predicted_file_was_written_can_be_said(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"good\n2,bad"\n')
    data = make(predict_file=str(path), quoting="none")
    data.setup("predict")
    assert len(data.predict) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "DIR/reviews"),
        ({"source": "DIR/reviews/train.parquet"}, "DIR/reviews/train.parquet"),
        ({"source": "imdb", "predict_file": "DIR/texts.txt"}, "imdb or DIR/texts.txt"),
        ({"source": "embedded"}, "embedded"),
    ],
    ids=["folder", "file", "hub", "embedded"],
)
def test_quotation_marks_of_a_source_that_has_none_are_refused(
    make: Make, arguments: dict[str, str], named: str, tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    write("texts.txt", "good\n")
    here = {name: value.replace("DIR", str(tmp_path)) for name, value in arguments.items()}
    with pytest.raises(UserError) as refused:
        make(**here, quoting="minimal")
    line = "quoting 'minimal' is for CSV and TSV, and there is none in DIR: leave out --data.quoting"
    assert refused.value.worded(Setting.as_flag) == line.replace("DIR", named).replace("DIR", str(tmp_path))


@pytest.mark.parametrize(
    "name", ["reviews/valid.csv", "reviews/data/train/0.tsv.gz", "texts.csv", "reviews/a/b/c/d.tsv"]
)
def test_quotation_marks_are_spoken_of_where_one_file_has_them(
    make: Make, name: str, tmp_path: Path, write: Callable[[str, str], Path]
) -> None:
    path = write(name, "text,label\na,b\n")
    make(quoting="none", predict_file=str(path) if path.parent == tmp_path else None)
    # What is missing is said where it is read.
    make(quoting="none", source="/nowhere/reviews.parquet")


def test_lightning_keeps_the_loaders_and_runs_all_stages(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("good\n" * 5)
    data = make(eval_batch_size=2, n_train=20)
    trainer = small_trainer(max_epochs=2)
    model = Bag()
    trainer.fit(model, data)
    assert trainer.global_step == 2 * 3
    trainer.test(model, data, verbose=False)
    # Of a source on the hub nothing is asked: there is no network here.
    to_predict = make(source="imdb", predict_file=str(path), eval_batch_size=2)
    assert trainer.predict(model, to_predict) == [[0, 1], [2, 3], [4]]


def test_of_a_loader_of_other_examples_no_shapes_are_foreseen(make: Make) -> None:
    from torch.utils.data import ConcatDataset

    from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler
    from peft_lightning.data.loader import ResumableDataLoader

    class Twice(TextDataModule):
        def train_dataloader(self) -> ResumableDataLoader:
            order = LengthGroupedBatchSampler(self.train.lengths * 2, 4, 1)
            return ResumableDataLoader(ConcatDataset([self.train, self.train]), order, self._loaders().collate)

    foreseen: list[Any] = []

    class Watched(Bag):
        def on_train_batch_start(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
            foreseen.append(data.coming_shapes())

    plain = make(n_train=20)
    data = Twice(
        source=plain.source, model_name_or_path=plain.model_name_or_path, cache_dir=plain.cache_dir, max_length=24
    )
    small_trainer(max_steps=3).fit(Watched(), data)
    assert foreseen == [[]] * 3


@pytest.mark.skipif("PEFT_LIGHTNING_IMDB" not in os.environ, reason="PEFT_LIGHTNING_IMDB does not name the real IMDb")
def test_real_imdb(make: Make) -> None:
    data = make(source=os.environ["PEFT_LIGHTNING_IMDB"], n_train=300, n_val=100, n_test=200, max_length=64)
    data.setup("fit")
    assert torch.stack([data.train.labels.bincount(), data.test.labels.bincount()]).tolist() == [[150] * 2, [100] * 2]  # type: ignore[union-attr]
    assert 0.9 < data.description()["truncated_share"] <= 1


def test_any_of_several_processes_can_have_the_batches_that_all_of_them_share(make: Make) -> None:
    data = make(n_train=40, batch_size=4)
    data.setup("fit")
    shares = []
    for rank in range(3):
        data.trainer = cast("Any", SimpleNamespace(global_rank=rank, world_size=3, strategy=SingleDeviceStrategy()))
        undivided, share = indices(data.undivided_batches()), indices(data.train_dataloader())
        assert [len(batch) for batch in undivided].count(12) == 3
        shares.append(share)
    # A process that gets none of a batch's examples has its first one in its place.
    together = [sorted({row for share in shares for row in share[number]}) for number in range(4)]
    assert together == [sorted(batch) for batch in undivided]
    # One process with batches as large has the very same ones.
    data.trainer, data.batch_size = None, 12
    assert indices(data.train_dataloader()) == undivided
