"""Pairs of texts: encoded as the tokenizer encodes pairs, with token types for the models that have them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.data.duplicates import count_duplicates
from peft_lightning.data.examples import PadToLongest
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources import read_corpus
from peft_lightning.data.sources.corpus import Split, fingerprint
from peft_lightning.data.sources.splits import SourceOptions
from peft_lightning.data.sources.tables import read_texts
from peft_lightning.data.sources.text_pairs import TextPairs, in_one
from peft_lightning.data.token_cache import TokenCache
from peft_lightning.data.token_key import tokenised_key
from peft_lightning.data.tokenisation import tokenise
from peft_lightning.errors import UserError
from tests.methods.tiny_backbones import save_backbone

FIRST = ["a film", "never " * 40, "the plot was dull", "good " * 30]
SECOND = ["the plot", "most fine", "slow " * 30, "dull " * 25]
PAIRS = TextPairs(FIRST, SECOND)
Write = Callable[[str, str | bytes], Path]


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    names = "[PAD] [UNK] [CLS] [SEP] [MASK] a the film plot was good dull fine slow never most"
    words = names.split()
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


@pytest.fixture(scope="module", params=["bert", "distilbert", "roberta", "deberta-v2", "modernbert"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each architecture, all with a tokenizer that knows token types."""
    path = save_backbone(request.param, tmp_path_factory.mktemp(request.param))
    bert_tokenizer().save_pretrained(path)
    return path


def rows(tokens: Any) -> list[list[int]]:
    return [tokens.input_ids[a:b].tolist() for a, b in itertools.pairwise(tokens.offsets.tolist())]


@pytest.mark.parametrize("max_length", [64, 13])
def test_ids_and_types_are_the_tokenizer_s_own_cut_longest_first(tokenizer: Any, max_length: int) -> None:
    for own in (tokenizer, bert_tokenizer()):
        tokens = tokenise(PAIRS, own, max_length, token_types=own is not tokenizer)
        theirs = own(FIRST, SECOND, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
        assert rows(tokens) == theirs["input_ids"]
        assert tokens.truncated.tolist() == [len(ids) > max_length for ids in own(FIRST, SECOND)["input_ids"]]
        if own is tokenizer:
            assert not len(tokens.seconds)
        else:
            types = [
                [0] * int(s) + [1] * (len(ids) - int(s)) for s, ids in zip(tokens.seconds, rows(tokens), strict=True)
            ]
            assert types == theirs["token_type_ids"]


def test_a_model_gets_what_transformers_would_give_it_and_no_types_that_it_lacks(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    examples = ReviewTokeniser(str(folder), None, 20, "head", str(tmp_path)).tokenise(PAIRS, np.arange(4))
    batch = PadToLongest(0, 1, 20)([examples[row] for row in range(4)])
    own = bert_tokenizer()(FIRST, SECOND, truncation="longest_first", max_length=20, padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], own["input_ids"])
    assert torch.equal(batch["attention_mask"], own["attention_mask"])
    has_types = getattr(AutoConfig.from_pretrained(folder), "type_vocab_size", 0) > 1
    assert ("token_type_ids" in batch) == has_types
    if has_types:
        assert torch.equal(batch["token_type_ids"], own["token_type_ids"])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        model(**{name: values for name, values in batch.items() if name != "index"})


def test_the_module_hands_token_types_on(tmp_path: Path) -> None:
    from peft_lightning.methods import LoRA
    from peft_lightning.module.classifier import TextClassifier
    from peft_lightning.task import SingleLabel

    path = save_backbone("bert", tmp_path / "bert")
    bert_tokenizer().save_pretrained(path)
    module = TextClassifier(LoRA(), model_name_or_path=str(path))
    module.build(SingleLabel(("a", "b")))
    module.eval()
    examples = ReviewTokeniser(str(path), None, 20, "head", str(tmp_path)).tokenise(PAIRS, np.arange(4))
    batch = PadToLongest(0)([examples[row] for row in range(4)])
    with torch.no_grad():
        typed, untyped = module(batch), module({**batch, "token_type_ids": torch.zeros_like(batch["input_ids"])})
    assert module.model is not None
    config: Any = module.model.config
    assert not torch.allclose(typed, untyped)
    assert (config.problem_type, config.num_labels) == ("single_label_classification", 2)
    assert (config.id2label, config.label2id) == ({0: "a", 1: "b"}, {"a": 0, "b": 1})


def test_the_cache_keeps_pairs_apart_from_texts_and_from_pairs_without_types(tmp_path: Path) -> None:
    own = bert_tokenizer()
    cache = TokenCache(own, str(tmp_path))
    for token_types in (True, False):
        made, kept = (cache.tokenise(PAIRS, 16, token_types=token_types) for _ in range(2))
        assert rows(made) == rows(kept)
        assert len(kept.seconds) == (4 if token_types else 0)
        assert torch.equal(made.seconds, kept.seconds)
    keys = {
        tokenised_key(PAIRS, "t", 16),
        tokenised_key(PAIRS, "t", 16, token_types=True),
        tokenised_key(FIRST, "t", 16),
        tokenised_key([*FIRST, *SECOND], "t", 16),
        tokenised_key(TextPairs(SECOND, FIRST), "t", 16),
    }
    assert len(keys) == 5
    # Of pairs the beginnings are kept, whatever is set for single texts.
    assert tokenised_key(PAIRS, "t", 16, "tail") == tokenised_key(PAIRS, "t", 16)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_pairs_are_equal_if_both_texts_are_and_both_are_part_of_the_fingerprint() -> None:
    train, test = TextPairs(["a", "a", "b"], ["x", "y", "x"]), TextPairs(["a", "c"], ["y", "x"])
    found = count_duplicates(train, test, TextPairs(["a"], ["z"]))
    assert (found.train_repeats, found.val_in_train, found.test_in_train) == (0, 1, 0)
    labels, places = np.array([0, 1, 0]), np.arange(3)
    other = TextPairs(["a", "a", "b"], ["x", "y", "z"])
    whole = [fingerprint([], [Split(texts, labels, places)]) for texts in (train, other, train.first)]
    assert len(set(whole)) == 3
    taken = Split(train, labels, places).take(np.array([2, 0]))
    assert list(taken.texts) == [("b", "x"), ("a", "x")]
    assert [in_one(text) for text in taken.texts] == ["b ‖ x", "a ‖ x"]


def written(write: Write, suffix: str, pairs: list[tuple[Any, Any, Any]]) -> Path:
    table = [{"premise": a, "hypothesis": b, "label": label} for a, b, label in pairs]
    if suffix == ".jsonl":
        return write("a.jsonl", "".join(json.dumps(row) + "\n" for row in table))
    if suffix == ".csv":
        lines = ["premise,hypothesis,label", *(f"{a},{b},{label}" for a, b, label in pairs)]
        return write("a.csv", "\n".join(lines) + "\n")
    import pandas as pd

    path = write("a.parquet", b"")
    pd.DataFrame(table).to_parquet(path)
    return path


OPTIONS = SourceOptions(text_pair_column="hypothesis")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_pairs_are_read_from_tables_to_train_on_and_to_predict(suffix: str, write: Write) -> None:
    path = written(write, suffix, [(f"p{n}", f"h{n}", n % 2) for n in range(10)])
    corpus = read_corpus(str(path), "premise", "label", 1, OPTIONS)
    assert isinstance(corpus.train.texts, TextPairs)
    assert [a[1:] == b[1:] and (a[0], b[0]) == ("p", "h") for a, b in corpus.train.texts] == [True] * 8
    assert list(read_texts(path, "premise", text_pair_column="hypothesis"))[3] == ("p3", "h3")


def test_pairs_are_read_from_a_saved_dataset(tmp_path: Path) -> None:
    import datasets

    rows = {"premise": ["p0", "p1"] * 5, "hypothesis": [f"h{n}" for n in range(10)], "label": [[0], [1, 0]] * 5}
    features = datasets.Features(
        premise=datasets.Value("string"),
        hypothesis=datasets.Value("string"),
        label=datasets.List(datasets.ClassLabel(names=["no", "yes"])),
    )
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "saved"))
    corpus = read_corpus(str(tmp_path / "saved"), "premise", "label", 1, OPTIONS)
    assert isinstance(corpus.train.texts, TextPairs)
    assert corpus.task.label_names == ("no", "yes")
    datasets.Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "train.parquet"))
    assert read_corpus(str(tmp_path / "train.parquet"), "premise", "label", 1, OPTIONS).task == corpus.task


@pytest.mark.parametrize("empty", ["", "  ", None])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_pair_with_an_empty_side_is_one_line_that_names_row_and_column(
    suffix: str, empty: str | None, write: Write
) -> None:
    rows = [(f"p{n}", f"h{n}", n % 2) for n in range(10)]
    said = r"row 4 of .*a\.\w+ \(column 'hypothesis'\)"
    path = written(write, suffix, [(a, empty if n == 3 else b, label) for n, (a, b, label) in enumerate(rows)])
    with pytest.raises(UserError, match=said):
        read_corpus(str(path), "premise", "label", 1, OPTIONS)
    with pytest.raises(UserError, match=said):
        read_texts(path, "premise", text_pair_column="hypothesis")
    path = written(write, suffix, [(empty if n == 3 else a, b, label) for n, (a, b, label) in enumerate(rows)])
    with pytest.raises(UserError, match=said.replace("hypothesis", "premise")):
        read_corpus(str(path), "premise", "label", 1, OPTIONS)


def test_what_has_no_pairs_is_one_line(write: Write, tmp_path: Path) -> None:
    path = written(write, ".jsonl", [("p", "h", 0), ("p", "g", 1)])
    with pytest.raises(UserError, match=r"has no column 'other' .*name it with text_pair_column"):
        read_corpus(str(path), "premise", "label", 1, SourceOptions(text_pair_column="other"))
    with pytest.raises(UserError, match=r"a\.txt is no table, and pairs of texts are asked for"):
        read_texts(write("a.txt", "one\n"), "premise", text_pair_column="hypothesis")
    with pytest.raises(UserError, match=r"embedded has no columns .*leave out text_pair_column"):
        read_corpus("embedded", "text", "label", 1, OPTIONS)
    for split in ("train", "test"):
        for name in ("neg", "pos"):
            write(f"texts/{split}/{name}/1.txt", "a film")
    with pytest.raises(UserError, match="holds single texts, no pairs"):
        read_corpus(str(tmp_path / "texts"), "text", "label", 1, OPTIONS)


def test_several_label_columns_are_read_and_a_gap_is_named(write: Write) -> None:
    path = write("a.csv", "text,u,v\n" + "".join(f"t{n},{n % 2},{n % 3 % 2}\n" for n in range(10)))
    corpus = read_corpus(str(path), "text", ["u", "v"], 1)
    assert corpus.task.label_names == ("u", "v")
    assert any("columns of 0 and 1: taken for multi_label_classification" in note for note in corpus.origin.notes)
    path = write("b.csv", "text,u,v\na,0,1\nb,1,\n")
    with pytest.raises(UserError, match=r"row 2 of .*b.csv has no label in the column 'v': remove the row"):
        read_corpus(str(path), "text", ["u", "v"], 1)
    with pytest.raises(UserError, match="has no column 'w'"):
        read_corpus(str(path), "text", ["u", "w"], 1)
