import itertools
import random
from typing import Any

import numpy as np
import torch

from peft_lightning.data.token_key import tokenised_key, tokenizer_identity
from peft_lightning.data.tokenisation import tokenise

TEXTS = ["the film was good", "a", "never " * 50, "the plot is dull and slow"]


def test_ids_are_the_tokenizers_own_cut_to_max_length(tokenizer: Any) -> None:
    tokens = tokenise(TEXTS, tokenizer, 12)
    expected = tokenizer(TEXTS, truncation=True, max_length=12)["input_ids"]
    ends = tokens.offsets.tolist()
    assert [tokens.input_ids[a:b].tolist() for a, b in itertools.pairwise(ends)] == expected
    assert tokens.input_ids.dtype == torch.int32


def test_what_is_cut_is_known(tokenizer: Any) -> None:
    tokens = tokenise(TEXTS, tokenizer, 12)
    whole = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert tokens.truncated.tolist() == [length > 12 for length in whole]
    assert any(tokens.truncated)
    assert not all(tokens.truncated)


def test_a_tokenizer_without_a_fast_version_gives_the_same(tokenizer: Any) -> None:
    class Slow:
        is_fast = False

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return tokenizer(*args, **kwargs)

    fast, slow = tokenise(TEXTS, tokenizer, 12), tokenise(TEXTS, Slow(), 12)  # type: ignore[arg-type]
    assert torch.equal(fast.input_ids, slow.input_ids)
    assert torch.equal(fast.truncated, slow.truncated)


def test_more_texts_than_are_encoded_at_once(tokenizer: Any) -> None:
    tokens = tokenise([TEXTS[i % 4] for i in range(2001)], tokenizer, 12)
    assert len(tokens) == 2001
    lengths = tokens.lengths.tolist()
    assert lengths == (lengths[:4] * 501)[:2001]
    assert tokens.truncated.tolist() == (tokenise(TEXTS, tokenizer, 12).truncated.tolist() * 501)[:2001]


def test_no_global_generator_is_touched(tokenizer: Any) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    tokenised_key(TEXTS, tokenizer_identity(tokenizer), 12)
    tokenise(TEXTS, tokenizer, 12)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # type: ignore[index]
