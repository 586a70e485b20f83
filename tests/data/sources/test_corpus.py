import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from peft_lightning.data import embedded, sources
from peft_lightning.data.sources import is_on_hub, prepare, read_corpus
from peft_lightning.data.sources.columns import TextColumn
from peft_lightning.data.sources.corpus import Split, fingerprint
from peft_lightning.errors import UserError
from peft_lightning.task import SingleLabel

Write = Callable[[str, str | bytes], Path]


def rows(n: int) -> str:
    return "text,label\n" + "".join(f"review {i},{'abc'[i % 3]}\n" for i in range(n))


def test_a_single_file_is_split_stratified_by_the_seed(write: Write) -> None:
    path = str(write("reviews.csv", rows(150)))
    corpus = read_corpus(path, "text", "label", seed=1)
    assert np.bincount(corpus.test.labels).tolist() == [10, 10, 10]
    assert sorted([*corpus.train.rows, *corpus.test.rows]) == list(range(150))
    assert corpus.test.texts == [f"review {row}" for row in corpus.test.rows]
    assert corpus.task == SingleLabel(("a", "b", "c"))
    again, other = (read_corpus(path, "text", "label", seed) for seed in (1, 2))
    assert again.test.texts == corpus.test.texts != other.test.texts


def test_a_folder_with_a_train_file_only_is_split_too(write: Write) -> None:
    folder = write("only/train.csv", rows(15)).parent
    assert len(read_corpus(str(folder), "text", "label", 0).test.texts) == 3


@pytest.mark.slow
def test_the_embedded_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    # The beginning of the same corpus: composing all of it takes seconds.
    monkeypatch.setattr(embedded, "load_split", partial(embedded.load_split, n=100))
    corpus = read_corpus("embedded", "text", "label", 0)
    assert corpus.task == SingleLabel(("negative", "positive"))
    assert not set(corpus.train.texts) & set(corpus.test.texts)


@pytest.mark.parametrize(
    ("source", "on_hub"),
    [
        ("imdb", True),
        ("cornell-movie-review-data/rotten_tomatoes", True),
        ("embedded", False),
        ("./imdb", False),
        ("../shared/imdb", False),
        ("/data/imdb", False),
        ("data/reviews.csv", False),
        ("data/reviews.txt", False),
        ("~nobody/reviews", False),
        ("a/b/c", False),
    ],
)
def test_what_looks_like_a_dataset_on_the_hub(source: str, on_hub: bool) -> None:
    assert is_on_hub(source) == on_hub


def test_a_path_that_exists_comes_before_the_hub(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("owner/name/train.csv", rows(15))
    monkeypatch.chdir(tmp_path)
    assert not is_on_hub("owner/name")


def test_sources_that_do_not_exist_or_have_no_format(write: Write) -> None:
    with pytest.raises(UserError, match=r"data source /nowhere/reviews does not exist: name a folder"):
        read_corpus("/nowhere/reviews", "text", "label", 0)
    with pytest.raises(UserError, match=r"reviews.xlsx has no known format"):
        read_corpus(str(write("reviews.xlsx", "x")), "text", "label", 0)


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("./data/review", "./data/reviews.csv"),
        ("data/notes.txt", "data/notes_2"),
        ("~/data/reviews.tsv", "~/data/reviews.csv"),
        ("revews/", "reviews"),
    ],
)
def test_a_path_that_is_not_there_is_answered_with_those_like_it(
    source: str, meant: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("data/reviews.csv", rows(15))
    write("data/notes_2/train.csv", rows(15))
    write("reviews/train.csv", rows(15))
    write("data/notes.md", "r")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as refused:
        read_corpus(source, "text", "label", 0)
    assert str(refused.value).startswith(f"data source {source} does not exist (did you mean {meant}?): name a folder")


def test_the_hub_is_asked_only_where_no_path_here_is_like_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sources, "download", lambda source, configuration: asked.append(source))
    write("data/reviews.csv", rows(15))
    write("glue/cola-2/train.csv", rows(15))
    monkeypatch.chdir(tmp_path)
    line = r"^data source data/review does not exist here, where there is data/reviews\.csv: name what is meant; a data"
    for ask in (prepare, lambda source: read_corpus(source, "text", "label", 0)):
        with pytest.raises(UserError, match=line):
            ask("data/review")
    others = ["data/imdb", "owner/name", "imdb", "glue/cola"]
    for source in others:
        prepare(source)
    assert asked == others


def test_the_fingerprint_tells_texts_and_classes_apart() -> None:
    def split(texts: list[str], labels: list[int]) -> Split:
        return Split(texts, np.array(labels), np.arange(len(texts)))

    base = [split(["ab", "c"], [0, 1])]
    prints = [
        fingerprint(["n", "p"], splits)
        for splits in (base, [split(["a", "bc"], [0, 1])], [split(["ab", "c"], [1, 0])], [*base, split([], [])])
    ]
    assert len({*prints, fingerprint(["p", "n"], base)}) == 5
    assert fingerprint(["n", "p"], base) == prints[0]


def test_the_fingerprint_is_the_hash_of_one_json_text_however_the_rows_are_held() -> None:
    texts = [f'"film" \\ {n}\n\tünï \u2028 😀' for n in range(9000)]
    columns = TextColumn(pa.chunked_array([texts[:5000], texts[5000:]]))
    for labels in (np.arange(9000), np.linspace(0, 1, 9000), np.arange(18000).reshape(9000, 2) % 2):
        parts = [(texts, labels), (texts[:1], labels[:1]), ([], labels[:0])]
        digest = hashlib.sha256(json.dumps(["n", "p"]).encode())
        for some, targets in parts:
            digest.update(json.dumps([some, targets.tolist()]).encode())
        in_lists = [Split(some, targets, np.arange(len(some))) for some, targets in parts]
        in_arrow = [Split(columns, labels, np.arange(9000))]
        in_arrow += [in_arrow[0].take(np.arange(count)) for count in (1, 0)]
        assert fingerprint(["n", "p"], in_lists) == digest.hexdigest()
        assert fingerprint(["n", "p"], in_arrow) == digest.hexdigest()
