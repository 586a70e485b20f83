"""Tokenises a run's reviews with the model's tokeniser and the run's settings, through the cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.sources import Split
from peft_lightning.data.token_cache import TokenCache
from peft_lightning.data.tokenisation import check_tokenizer
from peft_lightning.data.truncation import Truncation


class ReviewTokeniser:
    """Tokenises reviews for a model, or reads them from the cache.

    Args:
        model_name_or_path: The model whose tokeniser is used.
        revision: Branch, tag or commit of a model on the hub.
        max_length: Number of tokens that a review is cut to, special tokens included.
        truncation: Which part of a longer review is kept.
        cache_dir: Folder of the cached reviews; None for the user's cache folder.

    Raises:
        UserError: If there is no such tokeniser, or its model does not take reviews of that length.
    """

    def __init__(
        self,
        model_name_or_path: str,
        revision: str | None,
        max_length: int,
        truncation: Truncation,
        cache_dir: str | None,
    ) -> None:
        from peft_lightning.backbone.loading import load_tokenizer

        tokenizer = load_tokenizer(model_name_or_path, revision)
        check_tokenizer(tokenizer, max_length)
        self.pad_token_id = int(tokenizer.pad_token_id)
        """The id of the padding token."""
        self._max_length = max_length
        self._truncation: Truncation = truncation
        self._cache = TokenCache(tokenizer, cache_dir)

    def tokenise(
        self, texts: Sequence[str], rows: NDArray[np.int64], labels: NDArray[Any] | None = None
    ) -> TokenisedReviews:
        """Tokenises reviews, or reads them from the cache.

        Args:
            texts: The n reviews.
            rows: Row of each review in the split or file that it comes from, shape (n,).
            labels: Target of each review, shape (n, …); None if they are to be predicted.

        Returns:
            The n reviews as a dataset.

        Raises:
            UserError: If ``cache_dir`` was set and cannot be written.
        """
        tokens = self._cache.tokenise(texts, self._max_length, self._truncation)
        targets = None if labels is None else torch.from_numpy(labels)
        return TokenisedReviews(tokens, torch.from_numpy(rows), targets)

    def fingerprint(self, label_names: Sequence[str], splits: Sequence[Split]) -> str:
        """Computes the fingerprint of a run's reviews, or reads that of many reviews from the cache.

        Args:
            label_names: Names of the labels.
            splits: The reviews and their targets.
        """
        return self._cache.fingerprint(label_names, splits)
