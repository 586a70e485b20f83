"""Tokenises pairs of texts as their tokenizer encodes pairs, with its own special tokens between them."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.word_tokens import TokenBatch
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenise_pairs(
    first: Sequence[str],
    second: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    token_types: bool,
) -> TokenBatch:
    """Tokenises pairs; of a pair that is too long the longer text loses tokens at its end first.

    Args:
        first: The first text of each of n pairs.
        second: The second text of each.
        tokenizer: The model's tokeniser.
        max_length: Number of tokens that a pair is cut to, special tokens included.
        token_types: Whether the model tells the texts apart by token types.

    Raises:
        UserError: If the tokenizer's token types are not those of a first and then a second text.
    """

    def encode(rows: Sequence[int], truncation: Any) -> Any:
        return tokenizer(
            [first[row] for row in rows],
            [second[row] for row in rows],
            truncation=truncation,
            max_length=max_length if truncation else None,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=token_types,
        )

    whole = encode(range(len(first)), False)
    ids, types = list(whole["input_ids"]), list(whole["token_type_ids"]) if token_types else []
    truncated = np.fromiter((len(row) > max_length for row in ids), np.bool_, len(ids))
    longer: list[int] = np.flatnonzero(truncated).tolist()
    if longer:
        cut = encode(longer, "longest_first")
        for place, row in enumerate(longer):
            ids[row] = cut["input_ids"][place]
            if token_types:
                types[row] = cut["token_type_ids"][place]
    return TokenBatch(
        np.fromiter(itertools.chain.from_iterable(ids), np.int32),
        np.fromiter(map(len, ids), np.int64, len(ids)),
        truncated,
        _begins(types) if token_types else None,
    )


def _begins(types: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    begins = np.empty(len(types), np.int64)
    for row, of_row in enumerate(types):
        begins[row] = len(of_row) - sum(of_row)
        if list(of_row) != [0] * int(begins[row]) + [1] * (len(of_row) - int(begins[row])):
            raise UserError(
                "the tokenizer gives the texts of a pair other token types than 0 and then 1, which is not supported:"
                " choose another model"
            )
    return begins
