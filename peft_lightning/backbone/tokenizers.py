"""The tokenizer that belongs to a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from peft_lightning.backbone.locations import (
    cache_alone,
    first_line,
    loading_error,
    locate,
    quiet_transformers,
    require_model_folder,
)
from peft_lightning.backbone.plain_weights import refuse_adapter
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# transformers sets model_max_length to 10**30 if the tokeniser does not state its model's limit.
_NO_LIMIT = 10**6
# Ordinary words, which a tokenizer that works makes tokens of.
_PROBE = "a film"


def load_tokenizer(name_or_path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Loads the fast tokenizer that belongs to a backbone.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        UserError: There is no tokenizer, or it has no vocabulary.
    """
    from transformers import AutoTokenizer

    location = locate(name_or_path)
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                location,
                revision=revision,
                use_fast=True,
                local_files_only=cache_alone(location),
                trust_remote_code=False,
            )
        except Exception as error:
            refuse_adapter(name_or_path, revision)
            require_model_folder(name_or_path)
            if Path(location).is_dir():
                raise UserError(
                    f"{name_or_path} holds no tokenizer that loads ({first_line(error)}): it needs tokenizer.json, "
                    "or the vocabulary files of its architecture"
                ) from error
            raise loading_error(name_or_path, revision, error) from error
    # transformers makes up an empty vocabulary where a folder holds a config.json and no tokenizer files.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise UserError(
            f"{name_or_path} holds no vocabulary: tokenizer.json "
            "(or vocab.json and merges.txt, or vocab.txt) is missing"
        )
    return cast("PreTrainedTokenizerBase", tokenizer)


def require_usable(tokenizer: PreTrainedTokenizerBase, max_length: int, embeddings: int | None = None) -> None:
    """Refuses a tokenizer that cannot pad, states no sensible limit, or makes no tokens; and a length beyond its limit.

    Args:
        tokenizer: The model's tokenizer.
        max_length: Number of tokens that a text is cut to.
        embeddings: The number of tokens that the model has embeddings for; None if it is not known.

    Raises:
        UserError: The tokenizer, or the length, cannot be used.
    """
    name = tokenizer.name_or_path
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"the tokenizer of {name} has no pad token, so texts cannot share a batch: "
            "choose an encoder such as roberta-base"
        )
    # transformers adds a pad token that the vocabulary lacks, beyond the embeddings.
    known = embeddings is None or tokenizer.pad_token_id < embeddings
    if not tokenizer.pad_token or not known:
        raise UserError(
            f"the pad token of {name}, {tokenizer.pad_token!r}, is not in the vocabulary of its model: name one of its"
            " tokens as pad_token in tokenizer_config.json"
        )
    limit = _stated_limit(tokenizer)
    if limit is not None and max_length > limit:
        raise UserError(
            f"max_length {max_length} is beyond the {limit} tokens that {name} takes: use ",
            Setting("data.max_length", limit),
            " or less",
        )
    try:
        special = tokenizer(_PROBE, return_special_tokens_mask=True, verbose=False)["special_tokens_mask"]
    except Exception as error:  # the tokenizers library raises plain exceptions
        raise UserError(f"the tokenizer of {name} cannot be used ({first_line(error)}): {_OTHER_TOKENIZER}") from error
    if all(special):
        raise UserError(f"the tokenizer of {name} makes no token of ordinary words ({_PROBE!r}): {_OTHER_TOKENIZER}")


def require_embeddings(
    tokenizer: PreTrainedTokenizerBase, highest: int, embeddings: int | None, name_or_path: str
) -> None:
    """Refuses texts with a token that the model has no embedding for.

    Args:
        tokenizer: The tokenizer that made the tokens.
        highest: The highest token id in the texts.
        embeddings: The number of tokens that the model has embeddings for; None if it is not known.
        name_or_path: The model's name as the user wrote it.

    Raises:
        UserError: There is such a token.
    """
    if embeddings is None or highest < embeddings:
        return
    size = max(highest, len(tokenizer) - 1) + 1
    raise UserError(
        f"the texts hold the token {tokenizer.convert_ids_to_tokens(highest)!r} (number {highest}), and {name_or_path}"
        f" has embeddings for {embeddings}: its tokenizer has {size}; use the tokenizer that belongs to the model, or"
        f" save the model with resize_token_embeddings({size})"
    )


_OTHER_TOKENIZER = "restore tokenizer.json, or choose another model"


def _stated_limit(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Returns the most tokens that a tokenizer says its model takes; None if it states no limit."""
    limit: object = tokenizer.model_max_length
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit >= 1:
        return int(limit) if limit < _NO_LIMIT else None
    raise UserError(
        f"the tokenizer of {tokenizer.name_or_path} says that its model takes {limit!r} tokens: mend model_max_length"
        " in its tokenizer_config.json, or take it out"
    )
