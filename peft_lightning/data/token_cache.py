"""A cache of tokenised texts on disk, keyed by their content."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.data.tokenisation import TokenisedTexts, tokenise, tokenised_key, tokenizer_identity
from peft_lightning.data.truncation import Truncation
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def default_cache_dir() -> Path:
    """Returns ``$XDG_CACHE_HOME/peft_lightning``, or ``~/.cache/peft_lightning``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "peft_lightning"


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
        self._folder = Path(folder).expanduser() if folder else default_cache_dir()

    def tokenise(
        self,
        texts: Sequence[str],
        max_length: int,
        truncation: Truncation = "head",
    ) -> TokenisedTexts:
        """Reads these texts from the cache, or tokenises and keeps them.

        Args:
            texts: The n texts.
            max_length: Number of tokens that a text is cut to, special tokens included.
            truncation: Which part of a longer text is kept.

        Returns:
            The token ids of the n texts.

        Raises:
            UserError: If ``folder`` was set and cannot be written.
        """
        key = tokenised_key(texts, self._identity, max_length, truncation)
        path = self._folder / f"{key}.safetensors"
        kept = _read(path)
        if kept is not None:
            return kept
        self._check_writable()
        made = tokenise(texts, self._tokenizer, max_length, truncation)
        try:
            _write(path, made)
        except OSError as error:
            self._refuse(error)
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


def _read(path: Path) -> TokenisedTexts | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            content = TokenisedTexts(*map(file.get_tensor, ("input_ids", "offsets", "full_lengths")))
            checksum = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    return content if checksum == _checksum(content) else None


def _write(path: Path, content: TokenisedTexts) -> None:
    from safetensors.torch import save

    data = save(vars(content).copy(), metadata={"sha256": _checksum(content)})
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem[:16]}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _checksum(content: TokenisedTexts) -> str:
    digest = hashlib.sha256()
    tensors: tuple[torch.Tensor, ...] = (content.input_ids, content.offsets, content.full_lengths)
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
