"""Tokenises a run's reviews with the model's tokeniser and the run's settings, through the cache."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.examples import Example, PadToLongest, TokenisedReviews
from peft_lightning.data.sources import Split, TextPairs, Texts
from peft_lightning.data.sources.text_pairs import in_one, noun_of
from peft_lightning.data.text_windows import TextWindows, collate_to_answer
from peft_lightning.data.token_cache import TokenCache
from peft_lightning.data.tokenisation import TokenisedTexts, joined, text_tokeniser
from peft_lightning.data.truncation import Truncation, surrounding
from peft_lightning.data.word_tokens import TokenBatch
from peft_lightning.errors import Setting, UserError


def no_pairs_in_windows() -> UserError:
    """Returns the error for pairs of texts that are to be read in windows."""
    return UserError("pairs of texts are not read in windows: cut them, with ", Setting("data.truncation", "head"))


class ReviewTokeniser:
    """Tokenises reviews for a model, or reads them from the cache.

    Args:
        model_name_or_path: The model whose tokeniser is used.
        revision: Branch, tag or commit of a model on the hub.
        max_length: Number of tokens that a review is cut to, special tokens included.
        truncation: Which part of a longer review is kept; with ``windows`` all, and of those to train on the head.
        cache_dir: Folder of the cached reviews; None for the user's cache folder.
        add_eos_token: Whether each review ends with the tokeniser's end-of-text token.
        window_stride: Number of tokens that two neighbouring windows share; None for a quarter of their own.

    Raises:
        UserError: If there is no such tokeniser, it cannot be used, or its model does not take reviews of that length.
    """

    def __init__(
        self,
        model_name_or_path: str,
        revision: str | None,
        max_length: int,
        truncation: Truncation,
        cache_dir: str | None,
        add_eos_token: bool = False,
        window_stride: int | None = None,
    ) -> None:
        from peft_lightning.backbone.loading import Backbone
        from peft_lightning.backbone.text_ends import choose_pad_token, end_texts
        from peft_lightning.backbone.tokenizers import load_tokenizer, require_usable

        tokenizer = load_tokenizer(model_name_or_path, revision)
        backbone = Backbone(model_name_or_path, revision)
        embeddings = backbone.embeddings()
        # What pads an encoder may decide its positions, so it is the encoder's own.
        note = choose_pad_token(tokenizer, embeddings) if backbone.scores_last_token() else None
        require_usable(tokenizer, max_length, embeddings)
        if add_eos_token:
            end_texts(tokenizer)
        self.notes = [note] if note else []
        """What was chosen differently from what the tokeniser's files say, a sentence each."""
        self.pad_token_id = int(tokenizer.pad_token_id)
        """The id of the padding token."""
        self._max_length = max_length
        self._truncation: Truncation = truncation
        self._cache = TokenCache(tokenizer, cache_dir)
        self._tokenizer = tokenizer
        self._model = model_name_or_path
        self._embeddings = embeddings
        self.windows = self._windows(window_stride) if truncation == "windows" else None
        """What cuts longer reviews into windows; None where they are cut to one length."""
        # A tokenizer may know token types that its model has no use for, and refuses.
        self.token_types = "token_type_ids" in tokenizer.model_input_names and backbone.token_types() > 1
        """Whether the model tells the texts of a pair apart by token types."""

    def collate(self, multiple: int, rows_at_once: int) -> PadToLongest:
        """Returns what makes batches of reviews that are answered.

        Args:
            multiple: The width is rounded up to a multiple of this.
            rows_at_once: The most windows that the model is to read at once.
        """
        return collate_to_answer(self.windows, rows_at_once, self.pad_token_id, multiple, self._max_length)

    def tokenise(
        self,
        texts: Texts,
        rows: NDArray[np.int64],
        labels: NDArray[Any] | None = None,
        trains: bool = False,
    ) -> TokenisedReviews:
        """Tokenises reviews, or reads them from the cache.

        Args:
            texts: The n reviews, or pairs of texts.
            rows: Row of each review in the split or file that it comes from, shape (n,).
            labels: Target of each review, shape (n, …); None if they are to be predicted.
            trains: Whether they are trained on: of those that would be answered in windows, the head.

        Returns:
            The n reviews as a dataset.

        Raises:
            UserError: If ``cache_dir`` was set and cannot be written, a review makes no token, or one that the model
                has no embedding for.
        """
        self._require_single(texts)
        truncation: Truncation = "head" if trains and self.windows is not None else self._truncation
        with self._worded():
            tokens = self._cache.tokenise(texts, self._max_length, truncation, self.token_types)
        self._require_tokens(tokens, texts, rows)
        targets = None if labels is None else torch.from_numpy(labels)
        return TokenisedReviews(tokens, torch.from_numpy(rows), targets)

    def tokenise_in_turn(self, windows: Iterable[tuple[int, Texts]]) -> Iterator[TokenisedReviews]:
        """Tokenises reviews window by window, past the cache: what is predicted once is not kept.

        Args:
            windows: The row of a window's first review, and its reviews.

        Raises:
            UserError: If a review makes no token, or one that the model has no embedding for.
        """
        tokenised: Callable[[Texts], TokenBatch] | None = None
        for first, texts in windows:
            self._require_single(texts)
            with self._worded():
                if tokenised is None:
                    tokenised = text_tokeniser(
                        texts, self._tokenizer, self._max_length, self._truncation, self.token_types
                    )
                batch = tokenised(texts)
            tokens = joined([batch])
            rows = np.arange(first, first + len(texts))
            self._require_tokens(tokens, texts, rows)
            yield TokenisedReviews(tokens, torch.from_numpy(rows))

    def examples(self, texts: Texts) -> list[Example]:
        """Tokenises a few reviews, or pairs of texts, past the cache.

        Returns:
            An example for each, in their order.

        Raises:
            UserError: If a review makes no token, or one that the model has no embedding for.
        """
        (reviews,) = self.tokenise_in_turn([(0, texts)])
        return [reviews[place] for place in range(len(texts))]

    def _windows(self, stride: int | None) -> TextWindows:
        ordinary = self._tokenizer("a film", return_special_tokens_mask=True)
        leading, trailing = surrounding(ordinary["special_tokens_mask"])
        ids = ordinary["input_ids"]
        return TextWindows.of(self._max_length, stride, tuple(ids[:leading]), tuple(ids[len(ids) - trailing :]))

    def _require_single(self, texts: Texts) -> None:
        if self.windows is not None and isinstance(texts, TextPairs):
            raise no_pairs_in_windows()

    @contextmanager
    def _worded(self) -> Iterator[None]:
        from peft_lightning.backbone.locations import first_line

        try:
            yield
        except Exception as error:
            if type(error) is not Exception:  # what the tokenizers library raises
                raise
            raise UserError(f"the tokenizer of {self._model} cannot take the texts: {first_line(error)}") from error

    def _require_tokens(self, tokens: TokenisedTexts, texts: Texts, rows: NDArray[np.int64]) -> None:
        from peft_lightning.backbone.tokenizers import require_embeddings

        empty = (tokens.lengths == 0).nonzero().flatten()
        if len(empty):
            place = int(empty[0])
            raise UserError(
                f"the {noun_of(texts)} in row {int(rows[place]) + 1} ({in_one(texts[place])[:40]!r}) makes no token"
                f" with the tokenizer of {self._model}: take the row out, or choose another model"
            )
        highest = int(tokens.input_ids.max()) if len(tokens) else 0
        require_embeddings(self._tokenizer, highest, self._embeddings, self._model)

    def fingerprint(self, label_names: Sequence[str], splits: Sequence[Split]) -> str:
        """Computes the fingerprint of a run's reviews, or reads that of many reviews from the cache.

        Args:
            label_names: Names of the labels.
            splits: The reviews and their targets.
        """
        return self._cache.fingerprint(label_names, splits)
