from typing import Any

import pytest

from peft_lightning.data.token_cache import TokenCache
from peft_lightning.data.token_key import tokenised_key, tokenizer_identity
from peft_lightning.data.tokenisation import tokenise
from peft_lightning.data.truncation import HEAD_SHARE, Truncation, cut, surrounding

# <s> and </s> around forty tokens of a text.
WHOLE = [0, *range(100, 140), 2]


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", list(range(100, 120))),
        ("tail", list(range(120, 140))),
        ("head_tail", [*range(100, 105), *range(125, 140)]),
    ],
)
def test_what_stays_is_the_part_that_was_asked_for_between_the_special_tokens(
    truncation: Truncation, kept: list[int]
) -> None:
    assert cut(WHOLE, 22, truncation, 1, 1) == [0, *kept, 2]
    # Two special tokens in front and none behind, as some encoders have it.
    assert cut([0, 1, *range(100, 140)], 22, truncation, 2, 0) == [0, 1, *kept]


@pytest.mark.parametrize("truncation", list(HEAD_SHARE))
def test_a_text_that_fits_is_left_whole(truncation: Truncation) -> None:
    assert cut(WHOLE, len(WHOLE), truncation, 1, 1) == WHOLE
    assert len(cut(WHOLE, len(WHOLE) - 1, truncation, 1, 1)) == len(WHOLE) - 1


def test_special_tokens_are_counted_on_both_sides() -> None:
    assert surrounding([1, 0, 0, 1, 1]) == (1, 2)
    assert surrounding([0, 0]) == (0, 0)


def test_a_verdict_at_the_end_reaches_the_model_only_where_the_end_is_kept(tokenizer: Any, tmp_path: Any) -> None:
    text = ["the film was good " + "never " * 60 + "dull and slow"]
    verdict = tokenizer(" dull and slow", add_special_tokens=False)["input_ids"]
    opening = tokenizer("the film was good", add_special_tokens=False)["input_ids"]
    cache = TokenCache(tokenizer, str(tmp_path))
    kept = {kind: cache.tokenise(text, 40, kind).input_ids.tolist() for kind in HEAD_SHARE}

    def holds(ids: list[int], part: list[int]) -> bool:
        return any(ids[start : start + len(part)] == part for start in range(len(ids)))

    assert [holds(kept[kind], opening) for kind in ("head", "tail", "head_tail")] == [True, False, True]
    assert [holds(kept[kind], verdict) for kind in ("head", "tail", "head_tail")] == [False, True, True]
    # Kept on disk, one is never taken for another.
    assert cache.tokenise(text, 40, "tail").input_ids.tolist() == kept["tail"]
    assert len({tokenised_key(text, tokenizer_identity(tokenizer), 40, kind) for kind in HEAD_SHARE}) == 3
    assert tokenise(text, tokenizer, 40).truncated.all()
