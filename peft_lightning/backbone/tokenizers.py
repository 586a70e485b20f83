"""The tokenizer that belongs to a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from peft_lightning.backbone.locations import (
    cache_alone,
    loading_error,
    locate,
    quiet_transformers,
    require_model_folder,
)
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
            require_model_folder(name_or_path)
            if Path(location).is_dir():
                raise UserError(
                    f"{name_or_path} holds no tokenizer that loads: it needs tokenizer.json, "
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
