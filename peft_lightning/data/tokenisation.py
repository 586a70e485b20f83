"""Tokenisation: the token ids of all texts in one flat array, with the offset of each text."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from peft_lightning.data.truncation import Truncation, cut, surrounding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Enough texts to keep the tokeniser's threads busy, few enough to hold their lists of ids in memory.
_TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class TokenisedTexts:
    """Token ids of n texts, special tokens included, cut to ``max_length``.

    Args:
        input_ids: The ids of all texts, concatenated, int32, shape (tokens,).
        offsets: Where each text begins, then where the last one ends, int64, shape (n + 1,).
        full_lengths: Number of tokens of each text before it was cut, int32, shape (n,).
    """

    input_ids: torch.Tensor
    offsets: torch.Tensor
    full_lengths: torch.Tensor

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> torch.Tensor:
        """Number of tokens of each text, int64, shape (n,)."""
        return self.offsets.diff()

    @property
    def truncated(self) -> torch.Tensor:
        """Which texts were cut, bool, shape (n,)."""
        return self.full_lengths > self.lengths


def tokenise(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, truncation: Truncation = "head"
) -> TokenisedTexts:
    """Tokenises texts, without drawing from any random number generator.

    Args:
        texts: The n texts.
        tokenizer: The model's tokeniser.
        max_length: Number of tokens that a text is cut to, special tokens included.
        truncation: Which part of a longer text is kept.

    Returns:
        The token ids of the n texts.
    """
    pieces: list[np.ndarray[Any, np.dtype[np.int32]]] = []
    full_lengths: list[int] = []
    around = surrounding(tokenizer("a film", return_special_tokens_mask=True)["special_tokens_mask"])
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        encoded = tokenizer(list(texts[start : start + _TEXTS_AT_ONCE]), truncation=False, verbose=False)
        for ids in encoded["input_ids"]:
            pieces.append(np.asarray(cut(ids, max_length, truncation, *around), dtype=np.int32))
            full_lengths.append(len(ids))
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    return TokenisedTexts(
        torch.from_numpy(np.concatenate([np.empty(0, np.int32), *pieces])),
        torch.from_numpy(offsets),
        torch.tensor(full_lengths, dtype=torch.int32),
    )


def tokenised_key(texts: Sequence[str], identity: str, max_length: int, truncation: Truncation = "head") -> str:
    """Hashes all that decides what ``tokenise`` returns: a key for the cache.

    Args:
        texts: The texts.
        identity: What ``tokenizer_identity`` returned.
        max_length: Number of tokens that a text is cut to.
        truncation: Which part of a longer text is kept.

    Returns:
        A SHA-256, in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in (identity, f"{truncation} {max_length}", *texts):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def tokenizer_identity(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Serialises all of a tokeniser that decides token ids, which does not include where it was loaded from."""
    import tokenizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # These are arguments of the last call, not properties of the tokeniser.
        state["truncation"] = state["padding"] = None
    else:
        state = {"vocabulary": tokenizer.get_vocab(), "settings": tokenizer.init_kwargs}
    return json.dumps(
        {
            "class": type(tokenizer).__name__,
            "library": tokenizers.__version__,
            "special_tokens": tokenizer.special_tokens_map,
            "state": state,
        },
        sort_keys=True,
        default=str,
    )
