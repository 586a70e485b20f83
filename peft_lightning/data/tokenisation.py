"""Texts become token ids, once: all of them in one flat array, with the place where each begins."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from peft_lightning.data.truncation import Truncation, cut, surrounding
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Enough to keep the tokenizer's threads busy, little enough to hold the lists of a batch in memory.
_TEXTS_AT_ONCE = 1000
# transformers writes 10**30 where a tokenizer does not say how much its model can take.
_NO_LIMIT = 10**6


@dataclass(frozen=True)
class TokenisedTexts:
    """Token ids of texts, with the special tokens, cut to `max_length`.

    Args:
        input_ids: the ids of all texts, one after the other, int32, shape (tokens,).
        offsets: where each text begins, and the end, int64, shape (n + 1,).
        full_lengths: tokens of each text before it was cut, int32, shape (n,).
    """

    input_ids: torch.Tensor
    offsets: torch.Tensor
    full_lengths: torch.Tensor

    def __len__(self) -> int:
        return len(self.full_lengths)

    @property
    def lengths(self) -> torch.Tensor:
        """Tokens of each text, int64, shape (n,)."""
        return self.offsets.diff()

    @property
    def truncated(self) -> torch.Tensor:
        """Which texts were cut, bool, shape (n,)."""
        return self.full_lengths > self.lengths


def tokenise(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int, truncation: Truncation = "head"
) -> TokenisedTexts:
    """Turn texts into token ids; no random number generator is touched.

    Args:
        texts: the texts, n of them.
        tokenizer: the tokenizer of the model.
        max_length: most tokens of a text, the special ones included.
        truncation: which part of a longer text stays.

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


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", max_length: int) -> None:
    """Refuse a tokenizer that cannot pad, and a length that its model cannot take.

    Args:
        tokenizer: the tokenizer of the model.
        max_length: most tokens of a text.

    Raises:
        UserError: the tokenizer has no pad token, or says that its model takes fewer tokens.
    """
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no pad token, so reviews cannot share a batch: "
            "choose an encoder such as roberta-base"
        )
    limit = tokenizer.model_max_length
    if max_length > limit and limit < _NO_LIMIT:
        raise UserError(
            f"max_length {max_length} is beyond the {limit} tokens that {tokenizer.name_or_path} takes: use ",
            Setting("data.max_length", limit),
            " or less",
        )


def tokenised_key(texts: Sequence[str], identity: str, max_length: int, truncation: Truncation = "head") -> str:
    """Tell what `tokenise` would return from what it returns for anything else.

    Args:
        texts: the texts.
        identity: that of the tokenizer.
        max_length: most tokens of a text.
        truncation: which part of a longer text stays.

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
    """Returns all that decides the ids; where the tokenizer was loaded from does not.

    Args:
        tokenizer: the tokenizer of the model.
    """
    import tokenizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        # What the last call asked for, not what the tokenizer is.
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
