"""From texts to tokenised reviews: the model's tokenizer, a run's settings and the cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.token_cache import TokenCache
from peft_lightning.data.tokenisation import check_tokenizer
from peft_lightning.data.truncation import Truncation


class ReviewTokeniser:
    """Makes reviews ready for a model, as its tokenizer tokenises them.

    Args:
        model_name_or_path: the model whose tokenizer is used.
        revision: branch, tag or commit of a model on the hub.
        max_length: tokens a review is cut to, the special ones included.
        truncation: what stays of a longer review.
        cache_dir: folder that keeps tokenised reviews; None is the user's cache folder.

    Raises:
        UserError: there is no such tokenizer, or it does not take reviews of that length.
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
        """The id that fills the rest of a batch."""
        self._max_length = max_length
        self._truncation: Truncation = truncation
        self._cache = TokenCache(tokenizer, cache_dir)

    def tokenise(
        self, texts: Sequence[str], rows: NDArray[np.int64], labels: NDArray[Any] | None = None
    ) -> TokenisedReviews:
        """Tokenises reviews, or finds them tokenised.

        Args:
            texts: the reviews, n of them.
            rows: row of each in the split or file it comes from, shape (n,).
            labels: target of each, shape (n, …); None where they are to be predicted.

        Returns:
            The n reviews.

        Raises:
            UserError: the folder that was asked for cannot be written.
        """
        tokens = self._cache.tokenise(texts, self._max_length, self._truncation)
        targets = None if labels is None else torch.from_numpy(labels)
        return TokenisedReviews(tokens, torch.from_numpy(rows), targets)
