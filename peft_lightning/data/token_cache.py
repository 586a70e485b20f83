"""A cache of tokenised texts on disk, keyed by their content."""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.data.sources import Split, Texts, fingerprint
from peft_lightning.data.sources.text_pairs import digest_of_texts
from peft_lightning.data.token_file import read_tokens, write_tokens
from peft_lightning.data.token_key import tokenised_key, tokenizer_identity
from peft_lightning.data.tokenisation import TokenisedTexts, token_batches, tokenise
from peft_lightning.data.truncation import Truncation
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.given_paths import cache_folder, given_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# JSON of a million rows of 30 words, which the fingerprint is the hash of, takes a second and a half.
_MANY_ROWS = 20_000


class TokenCache:
    """Keeps tokenised texts, each set of texts in one safetensors file.

    A damaged file is replaced. Processes may share the folder: a file appears whole or not at all.

    Args:
        tokenizer: The model's tokeniser.
        folder: Folder of the files; None for the user's cache folder. If that cannot be written, nothing is kept and a
            warning says so.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", folder: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._may_fail = folder is None
        self._folder = given_path(folder) if folder else cache_folder()

    def tokenise(
        self,
        texts: Texts,
        max_length: int,
        truncation: Truncation = "head",
        token_types: bool = False,
    ) -> TokenisedTexts:
        """Reads these texts from the cache, or tokenises and keeps them.

        Args:
            texts: The n texts, or pairs of texts.
            max_length: Number of tokens that a text or a pair is cut to, special tokens included.
            truncation: Which part of a longer text is kept.
            token_types: Whether the model tells the texts of a pair apart by token types.

        Returns:
            The token ids of the n texts.

        Raises:
            UserError: If ``folder`` was set and cannot be written.
        """
        key = tokenised_key(texts, self._identity, max_length, truncation, token_types)
        path = self._folder / f"{key}.safetensors"
        kept = read_tokens(path)
        if kept is not None:
            return kept
        self._check_writable()
        batches = token_batches(texts, self._tokenizer, max_length, truncation, token_types)
        try:
            write_tokens(path, batches)
        except OSError as error:
            self._refuse(error)
            return tokenise(texts, self._tokenizer, max_length, truncation, token_types)
        made = read_tokens(path)
        # Another process may have put the same file in its place, and none takes it away.
        if made is None:
            raise UserError(f"{path} cannot be read back: choose another folder with ", Setting("data.cache_dir"))
        return made

    def fingerprint(self, label_names: Sequence[str], splits: Sequence[Split]) -> str:
        """Computes the fingerprint of splits, or reads that of many rows from the cache.

        Args:
            label_names: Names of the labels.
            splits: The texts and their targets.
        """
        if sum(len(split.texts) for split in splits) < _MANY_ROWS:
            return fingerprint(label_names, splits)
        digest = hashlib.sha256(json.dumps(list(label_names)).encode())
        for split in splits:
            digest.update(f"{split.labels.dtype} {split.labels.shape}".encode() + digest_of_texts(split.texts))
            digest.update(split.labels.tobytes())
        path = self._folder / f"{digest.hexdigest()}.fingerprint"
        try:
            kept = path.read_text(encoding="ascii")
        except (OSError, ValueError):
            kept = ""
        if re.fullmatch("[0-9a-f]{64}", kept):
            return kept
        made = fingerprint(label_names, splits)
        # What cannot be kept is made anew, which costs no more than a second or two.
        with suppress(OSError, UserError):
            write_atomically(path, made.encode())
        return made

    @cached_property
    def _identity(self) -> str:
        # Serialising a tokeniser with its vocabulary takes as long as tokenising a thousand reviews.
        return tokenizer_identity(self._tokenizer)

    def _check_writable(self) -> None:
        """Refuses, before texts are tokenised, a folder that was set and cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            if not self._may_fail:
                self._refuse(error)

    def _refuse(self, error: OSError) -> None:
        reason = f"cannot keep tokenised texts in {self._folder} ({error.strerror})"
        if not self._may_fail:
            raise UserError(f"{reason}: choose another folder with ", Setting("data.cache_dir")) from error
        rank_zero_warn(f"{reason}: they are made anew in every run; choose a folder with data.cache_dir")
