from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.errors import UserError
from tests.data.conftest import each

TEXTS = ["the film is dull and slow and never fine", "good"]


def test_a_review_keeps_its_row_and_its_class(tokenizer_folder: str, tokenizer: Any, tmp_path: Path) -> None:
    tokeniser = ReviewTokeniser(tokenizer_folder, None, 8, "head", str(tmp_path))
    assert tokeniser.pad_token_id == tokenizer.pad_token_id
    reviews = tokeniser.tokenise(TEXTS, np.array([7, 3]), np.array([0, 1]))
    for example, text, row, label in zip(each(reviews), TEXTS, (7, 3), (0, 1), strict=True):
        assert example["input_ids"].tolist() == tokenizer(text, truncation=True, max_length=8)["input_ids"]
        assert (example["index"], example["label"]) == (row, label)
    assert [example["label"] for example in each(tokeniser.tokenise(TEXTS, np.arange(2)))] == [None, None]


def test_reviews_longer_than_the_model_takes_are_refused_at_once(tokenizer_folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="max_length 65 is beyond the 64 tokens"):
        ReviewTokeniser(tokenizer_folder, None, 65, "head", str(tmp_path))
