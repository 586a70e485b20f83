from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources import read_corpus
from peft_lightning.data.subsets import Subsets, choose_subsets

Choose = Callable[..., Subsets]


@pytest.fixture
def choose(reviews_folder: Path, tokenizer_folder: str, tmp_path: Path) -> Choose:
    def choose(max_length: int = 24, **asked: Any) -> Subsets:
        corpus = read_corpus(str(reviews_folder), "text", "label", seed=42)
        tokeniser = ReviewTokeniser(tokenizer_folder, None, max_length, "head", str(tmp_path / "cache"))
        sizes: dict[str, Any] = {"n_train": None, "n_val": None, "n_test": None, "seed": 42}
        return choose_subsets(corpus, **{**sizes, **asked}, tokeniser=tokeniser)

    return choose


def test_what_is_said_of_the_subsets_is_so(choose: Choose) -> None:
    subsets = choose(n_train=40, n_val=20, n_test=16)
    parts = (subsets.train, subsets.val, subsets.test)
    assert [len(part) for part in parts] == [40, 20, 16]
    assert not set(subsets.train.index.tolist()) & set(subsets.val.index.tolist())
    # A quarter of the reviews is positive.
    assert subsets.baseline is not None
    assert subsets.baseline.value == 0.75
    truncated = sum(int(part.tokens.truncated.sum()) for part in parts)
    assert subsets.truncated_share == pytest.approx(truncated / 76) != 0
    assert choose(max_length=64).truncated_share == 0


def test_the_fingerprint_follows_the_chosen_texts(choose: Choose) -> None:
    prints = [choose(**asked).fingerprint for asked in ({}, {"max_length": 16}, {"seed": 3}, {"n_test": 39})]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
