"""Tokenisation: the token ids of all texts in one flat array, with the offset of each text."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.pair_tokens import tokenise_pairs
from peft_lightning.data.sources.text_pairs import TextPairs, Texts
from peft_lightning.data.truncation import Truncation, cut, surrounding, window
from peft_lightning.data.word_tokens import TokenBatch, WordTokens
from peft_lightning.data.words_apart import tokenises_words_apart

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Enough texts to keep the tokeniser's threads busy, few enough to hold their lists of ids in memory.
_TEXTS_AT_ONCE = 1000
# So many texts, evenly spread, are tokenised both whole and word by word before the rest is trusted to words.
_COMPARED = 32


@dataclass(frozen=True)
class TokenisedTexts:
    """Token ids of n texts, special tokens included, cut to ``max_length`` unless they are read in windows.

    Args:
        input_ids: The ids of all texts, concatenated, int32, shape (tokens,).
        offsets: Where each text begins, then where the last one ends, int64, shape (n + 1,).
        truncated: Which texts are longer than ``max_length``, bool, shape (n,).
        seconds: Of pairs for a model with token types, where the tokens of the second type begin in each, int64, shape
            (n,); empty for others.
    """

    input_ids: torch.Tensor
    offsets: torch.Tensor
    truncated: torch.Tensor
    seconds: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.truncated)

    @property
    def lengths(self) -> torch.Tensor:
        """Number of tokens of each text, int64, shape (n,)."""
        return self.offsets.diff()


def tokenise(
    texts: Texts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    truncation: Truncation = "head",
    token_types: bool = False,
) -> TokenisedTexts:
    """Tokenises texts, without drawing from any random number generator.

    Args:
        texts: The n texts, or pairs of texts, which are encoded together.
        tokenizer: The model's tokeniser.
        max_length: Number of tokens that a text or a pair is cut to, special tokens included.
        truncation: Which part of a longer text is kept; of a longer pair, the beginning of both.
        token_types: Whether the model tells the texts of a pair apart by token types.

    Returns:
        The token ids of the n texts.
    """
    return joined(token_batches(texts, tokenizer, max_length, truncation, token_types))


def joined(batches: Iterable[TokenBatch]) -> TokenisedTexts:
    """Puts batches of tokenised texts one behind the other.

    Args:
        batches: The batches, of single texts or of pairs.
    """
    kept = list(batches)
    seconds = [np.empty(0, np.int64), *(batch.seconds for batch in kept if batch.seconds is not None)]
    return TokenisedTexts(
        torch.from_numpy(np.concatenate([np.empty(0, np.int32), *(batch.input_ids for batch in kept)])),
        offsets(batch.lengths for batch in kept),
        torch.from_numpy(np.concatenate([np.empty(0, np.bool_), *(batch.truncated for batch in kept)])),
        torch.from_numpy(np.concatenate(seconds)),
    )


def offsets(lengths: Iterable[NDArray[np.int64]]) -> torch.Tensor:
    """Returns where each text begins, then where the last one ends, int64, shape (n + 1,).

    Args:
        lengths: Number of tokens of each text, in batches.
    """
    return torch.from_numpy(np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths])))


def token_batches(
    texts: Texts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    truncation: Truncation = "head",
    token_types: bool = False,
) -> Iterator[TokenBatch]:
    """Tokenises texts in batches, in their order; arguments are those of ``tokenise``."""
    tokenised = text_tokeniser(texts, tokenizer, max_length, truncation, token_types)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield tokenised(texts[start : start + _TEXTS_AT_ONCE])


def text_tokeniser(
    texts: Texts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    truncation: Truncation = "head",
    token_types: bool = False,
) -> Callable[[Any], TokenBatch]:
    """Returns what tokenises a batch of texts; it may be called again and again, and remembers words.

    Each word is tokenised once where the tokenizer takes words apart: a million rows of 30 words took 200 s of
    processor time otherwise, and take 15. Pairs are tokenised whole.

    Args:
        texts: Texts of the kind to come, on which the two ways of tokenising are compared.
        tokenizer: The model's tokeniser.
        max_length: Number of tokens that a text is cut to, special tokens included.
        truncation: Which part of a longer text is kept.
        token_types: Whether the texts of a pair are told apart by token types.
    """
    if isinstance(texts, TextPairs):
        return lambda some: tokenise_pairs(
            [first for first, _ in some], [second for _, second in some], tokenizer, max_length, token_types
        )

    def whole(some: Sequence[str]) -> TokenBatch:
        encoded = tokenizer(
            list(some), truncation=False, verbose=False, return_attention_mask=False, return_token_type_ids=False
        )["input_ids"]
        kept = [cut(ids, max_length, truncation, leading, trailing) for ids in encoded]
        return TokenBatch(
            np.fromiter(itertools.chain.from_iterable(kept), np.int32),
            np.fromiter(map(len, kept), np.int64, len(kept)),
            np.fromiter((len(ids) > max_length for ids in encoded), np.bool_, len(kept)),
        )

    ordinary = tokenizer("a film", return_special_tokens_mask=True)
    leading, trailing = surrounding(ordinary["special_tokens_mask"])
    if len(texts) > _COMPARED and tokenises_words_apart(tokenizer):
        ids = ordinary["input_ids"]
        kept = window(max_length - leading - trailing, truncation)
        words = WordTokens(_encoder(tokenizer), kept, ids[:leading], ids[len(ids) - trailing :])

        def in_words(some: Sequence[str]) -> TokenBatch:
            batch = words.tokenise(some)
            # Of texts that are read in windows nothing is left out.
            return replace(batch, truncated=batch.lengths > max_length) if truncation == "windows" else batch

        # What is known of a tokenizer's steps says that both are the same; that its class adds nothing is seen.
        compared = [texts[int(row)] for row in np.linspace(0, len(texts) - 1, _COMPARED)]
        expected = whole(compared)
        if _same(in_words(compared), expected):
            return in_words
    return whole


def _encoder(tokenizer: "PreTrainedTokenizerBase") -> Callable[[list[str]], list[list[int]]]:
    """Returns what makes token ids of words, without special tokens."""
    backend: Any = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    # transformers takes four times as long for as short texts as words are.
    return lambda words: [encoding.ids for encoding in backend.encode_batch_fast(words, add_special_tokens=False)]


def _same(first: TokenBatch, second: TokenBatch) -> bool:
    names = ("input_ids", "lengths", "truncated")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
