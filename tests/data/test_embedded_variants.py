"""The embedded corpus for other tasks: its labels are those of its texts, and its splits share no sentence."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pytest

from peft_lightning.data.embedded.clauses import read_clauses
from peft_lightning.data.embedded.variants import PASSAGES, PREFERENCES, ROWS, Passages, Preferences, Stars
from peft_lightning.data.sources import is_on_hub, read_corpus
from peft_lightning.data.sources.text_pairs import TextPairs, in_one
from peft_lightning.task import MultiLabel, Regression, SingleLabel

SOURCES = ("embedded/multi_label", "embedded/regression", "embedded/pairs")
# Whoever changes how texts come about changes every figure measured on them: the first hundred of each say so.
DIGESTS = {
    "embedded/multi_label": "f592a66047d27b82",
    "embedded/regression": "30bfed260ede2d5e",
    "embedded/pairs": "65df3b59e46dcb35",
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def corpus(source: str) -> Any:
    return read_corpus(source, "text", "label", 42)


def sentences(texts: list[str]) -> set[str]:
    found = {part for text in texts for part in re.split(r"[.!?][\"'’)]*(?:\s+|$)", text.lower())}
    return {" ".join(re.findall(r"[a-z0-9']+", sentence)) for sentence in found} - {""}


def test_texts_are_the_same_everywhere_and_no_sentence_is_in_both_splits(source: str, corpus: Any) -> None:
    train, test = ([in_one(part.texts[row]) for row in range(1000)] for part in (corpus.train, corpus.test))
    assert (len(corpus.train.texts), len(corpus.test.texts)) == (ROWS["train"], ROWS["test"])
    assert len(set(train)) > 990
    assert not sentences(train) & sentences(test)
    assert not any(re.search(r"[{}\[\]|]", text) for text in train), "a slot was left open"
    told = "\0".join(f"{label}{text}" for label, text in zip(corpus.train.labels[:100].tolist(), train, strict=False))
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == DIGESTS[source]
    assert not is_on_hub(source)


def test_each_is_for_its_task(source: str, corpus: Any) -> None:
    labels = corpus.train.labels
    if source == "embedded/multi_label":
        assert corpus.task == MultiLabel(PASSAGES)
        assert (np.abs(labels.mean(axis=0) - 0.45) < 0.03).all()
    elif source == "embedded/regression":
        assert corpus.task == Regression()
        assert (labels.min(), labels.max()) == (1, 5)
    else:
        assert corpus.task == SingleLabel(PREFERENCES)
        assert isinstance(corpus.train.texts, TextPairs)
        assert np.bincount(labels) / len(labels) == pytest.approx(1 / 3, abs=0.03)


def of_sections(*names: str) -> list[re.Pattern[str]]:
    clauses = read_clauses("train")
    chosen = [clause for name in clauses if name.startswith(names) for clause in clauses[name]]
    # A sentence begins with a capital, whatever its clause does.
    parts = [[re.escape(part) for part in re.split(r"\{\w+\}", clause)] for clause in chosen]
    return [re.compile(".*".join(of_clause), re.IGNORECASE) for of_clause in parts]


def holds(text: str, patterns: list[re.Pattern[str]]) -> bool:
    return any(pattern.search(text) for pattern in patterns)


def test_a_label_is_what_the_text_says() -> None:
    reviews, plots = Passages("train"), of_sections("plot")
    for row in range(60):
        assert holds(reviews[row], plots) == (PASSAGES.index("plot") in reviews.labels[row]), reviews[row]
    stars = Stars("train")
    assert {label for label in stars.labels if label in (1.0, 5.0)} == {1.0, 5.0}
    pairs = Preferences("train")
    by_label = {label: pairs.labels.index(label) for label in range(3)}
    assert pairs.first[by_label[0]] != pairs.second[by_label[0]]
    assert pairs.first[:2] == [pairs.first[0], pairs.first[1]]
    assert reviews[:2] == [reviews[0], reviews[1]]
