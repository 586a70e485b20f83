"""The key of tokenised texts in the cache: a hash of all that decides their token ids."""

import hashlib
import json
from typing import TYPE_CHECKING

from peft_lightning.data.sources.text_pairs import TextPairs, Texts, digest_of_texts
from peft_lightning.data.truncation import Truncation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of the key: another number where the same settings come to mean other token ids or another file.
_EDITION = 2


def tokenised_key(
    texts: Texts, identity: str, max_length: int, truncation: Truncation = "head", token_types: bool = False
) -> str:
    """Hashes all that decides what ``tokenise`` returns: a key for the cache.

    Args:
        texts: The texts.
        identity: What ``tokenizer_identity`` returned.
        max_length: Number of tokens that a text is cut to.
        truncation: Which part of a longer text is kept.
        token_types: Whether the texts of a pair are told apart by token types.

    Returns:
        A SHA-256, in hexadecimal digits.
    """
    kept = f"pair {token_types}" if isinstance(texts, TextPairs) else truncation
    digest = hashlib.sha256(f"{_EDITION} {kept} {max_length} {len(identity)} {identity}".encode())
    digest.update(digest_of_texts(texts))
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
