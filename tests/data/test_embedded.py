"""The embedded corpus: balanced, without a repetition, the same everywhere, and not to be solved by counting words."""

from __future__ import annotations

import hashlib
import random
import re
import string

import numpy as np
import numpy.typing as npt
import pytest

from peft_lightning.data.embedded import REVIEWS, load_split
from peft_lightning.data.embedded.clauses import read_clauses
from peft_lightning.data.embedded.composer import MAX_WORDS, MIN_WORDS
from peft_lightning.data.sampling import draw_test, draw_training_and_validation
from peft_lightning.data.sources import read_corpus
from peft_lightning.errors import UserError
from tests.samples import mostly_slow

DIGESTS = {"train": "4ae4895f77d7aa17", "test": "b19777fa28e1f384"}
# Slots take names and common words of judgement; what is left of such a clause is compared all the same.
SENTENCES = ("title.", "first.", "last", "place", "genre", "role")


def digest(texts: list[str], labels: list[int]) -> str:
    joined = "\0".join(f"{label}{text}" for text, label in zip(texts, labels, strict=True))
    return hashlib.sha256(joined.encode("utf-8")).hexdigest()[:16]


@pytest.fixture(scope="module")
def splits() -> dict[str, tuple[list[str], list[int]]]:
    return {"train": load_split("train"), "test": load_split("test")}


@pytest.mark.slow
def test_thousands_of_reviews_without_a_repetition(splits: dict[str, tuple[list[str], list[int]]]) -> None:
    train, test = splits["train"][0], splits["test"][0]
    assert len(train) == REVIEWS["train"] == 24_000
    assert len(test) == REVIEWS["test"] == 20_000
    assert len(set(train) | set(test)) == 44_000


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_balanced_and_of_the_promised_length(split: str, splits: dict[str, tuple[list[str], list[int]]]) -> None:
    texts, labels = splits[split]
    assert set(labels) == {0, 1}
    assert all(sum(labels[:n]) == n // 2 for n in range(0, len(labels), 2))
    words = [len(text.split()) for text in texts]
    assert MIN_WORDS == 40 <= min(words)
    assert max(words) <= 300 == MAX_WORDS
    assert not [text for text in texts if re.search(r"[{}\[\]|]", text)], "a slot was left open"


@pytest.mark.parametrize("split", mostly_slow(["train", "test"], fast=["test"]))
def test_the_same_text_everywhere(split: str, splits: dict[str, tuple[list[str], list[int]]]) -> None:
    """Whoever changes a clause changes every figure measured on the corpus: the pinned digest says so."""
    assert digest(*splits[split]) == DIGESTS[split]


def test_neither_reads_nor_moves_the_global_generators() -> None:
    random.seed(1)
    before = random.getstate()
    first = load_split("test", 50)
    assert random.getstate() == before
    random.seed(2)
    assert load_split("test", 50) == first


def test_a_smaller_request_is_the_beginning_of_a_larger_one(
    splits: dict[str, tuple[list[str], list[int]]],
) -> None:
    texts, labels = load_split("train", 301)
    assert (texts, labels) == (splits["train"][0][:301], splits["train"][1][:301])


@pytest.mark.parametrize("n", [0, -4, 24_001])
def test_more_than_there_is_is_refused(n: int) -> None:
    with pytest.raises(UserError, match="24000"):
        load_split("train", n)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UserError, match="'validation'"):
        load_split("validation")  # type: ignore[arg-type]


def clauses(split: str) -> list[str]:
    return [c for name, lines in read_clauses(split).items() if not name.startswith(SENTENCES) for c in lines]


def content(clause: str) -> set[str]:
    return set(re.findall(r"[a-z0-9'{}]+", clause.lower()))


def test_the_splits_share_no_clause_nor_anything_close_to_one() -> None:
    """No name, no clause and no frame in common; of no two clauses three words in five."""
    train, test = read_clauses("train"), read_clauses("test")
    assert set(train) == set(test)
    for section in train:
        common = set(train[section]) & set(test[section])
        assert common <= {"{same}.", "{verdict}.", "{same}, and {same2}.", "{same}; {same2}."}, section
    ours, theirs = ([(c, content(c)) for c in clauses(split)] for split in ("train", "test"))
    close = [
        (a, b)
        for b, their_words in theirs
        for a, our_words in ours
        if len(our_words & their_words) >= 0.6 * len(our_words | their_words) and len(our_words | their_words) > 4
    ]
    assert close == []


def sentences(text: str) -> set[str]:
    """The sentences of a review, without capitals and punctuation."""
    found = re.split(r"[.!?][\"'’)]*\s+", text.lower())
    return {" ".join(re.findall(r"[a-z0-9']+", sentence)) for sentence in found}


def runs_of_words(text: str, length: int) -> set[str]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {" ".join(words[i : i + length]) for i in range(len(words) - length + 1)}


@pytest.mark.slow
def test_no_sentence_of_a_test_review_is_in_a_training_review(splits: dict[str, tuple[list[str], list[int]]]) -> None:
    """Frames and slots could make the same sentence of different clauses: the reviews as composed do not share one."""
    trained = set[str]().union(*(sentences(text) for text in splits["train"][0]))
    tested = set[str]().union(*(sentences(text) for text in splits["test"][0]))
    assert len(trained) > 50_000
    assert trained & tested == set()


def test_no_ten_words_in_a_row_are_in_both_splits(splits: dict[str, tuple[list[str], list[int]]]) -> None:
    """A tenth of the reviews, so that it takes a second; of all of them it holds too."""
    trained = set[str]().union(*(runs_of_words(text, 10) for text in splits["train"][0][:2000]))
    tested = set[str]().union(*(runs_of_words(text, 10) for text in splits["test"][0][:2000]))
    assert trained & tested == set()


@pytest.mark.parametrize("n", [2, 47, 400, 5001, 20_000])
def test_what_a_run_draws_is_balanced_and_repeats_no_review(
    n: int, splits: dict[str, tuple[list[str], list[int]]]
) -> None:
    corpus = read_corpus("embedded", "text", "label", seed=42)
    train, val = draw_training_and_validation(corpus.train.labels, n, 100, seed=42)
    test = draw_test(corpus.test.labels, n, seed=42)
    texts = [splits["train"][0][row] for row in [*train, *val]] + [splits["test"][0][row] for row in test]
    assert len(set(texts)) == len(texts) == 2 * n + 100
    for labels in (corpus.train.labels[train], corpus.train.labels[val], corpus.test.labels[test]):
        assert abs(2 * int(labels.sum()) - len(labels)) <= 1


def test_hundreds_of_clauses_none_of_them_twice() -> None:
    for split, least in (("train", 450), ("test", 300)):
        lines = [c.strip(string.punctuation) for c in clauses(split)]
        assert len(set(lines)) >= least


def word_counts(texts: list[str], vocabulary: dict[str, int]) -> npt.NDArray[np.float64]:
    counts = np.zeros((len(texts), len(vocabulary)))
    for row, text in zip(counts, texts, strict=True):
        for word in re.findall(r"[a-z']+", text.lower()):
            if (column := vocabulary.get(word)) is not None:
                row[column] += 1
    return counts


def test_counting_words_does_not_solve_it(splits: dict[str, tuple[list[str], list[int]]]) -> None:
    """Naive Bayes on 2,000 reviews: better than chance, well below what a network that reads must reach (0.85)."""
    texts, labels = splits["train"][0][:2000], np.array(splits["train"][1][:2000])
    words = sorted({word for text in texts for word in re.findall(r"[a-z']+", text.lower())})
    vocabulary = {word: i for i, word in enumerate(words)}
    counts = word_counts(texts, vocabulary)
    smoothed = [counts[labels == label].sum(0) + 1 for label in (0, 1)]
    weights = np.log(smoothed[1] / smoothed[1].sum()) - np.log(smoothed[0] / smoothed[0].sum())
    seen = float(np.mean((counts @ weights > 0) == labels))
    test = word_counts(splits["test"][0][:2000], vocabulary)
    accuracy = float(np.mean((test @ weights > 0) == np.array(splits["test"][1][:2000])))
    assert seen < 0.99
    assert 0.62 < accuracy < 0.78
