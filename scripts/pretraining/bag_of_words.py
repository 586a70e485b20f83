"""The review's first token, `<s>`, has to tell which words the review holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretraining.bpe import SPECIAL_TOKENS
from pretraining.packing import Batch


def word_weights(counts: Tensor, power: float) -> Tensor:
    """What a word counts for: the rarer, the more; special tokens nothing.

    Args:
        counts: how often each token occurs, shape (vocabulary,).
        power: 0 weighs every token alike, 1 every word of the vocabulary alike.

    Returns:
        weights with mean 1, shape (vocabulary,).
    """
    weights = (counts.float() + 1e-6) ** -power
    weights[: len(SPECIAL_TOKENS)] = 0.0
    return weights / weights.mean()


class BagOfWords(nn.Module):
    """Predicts a review's words, in no order, from the hidden state of its `<s>` (Ma et al. 2024, "Drop your Decoder").

    A masked language model leaves `<s>` without a meaning; a classifier reads nothing else. The encoder sees the
    review with its masks, the prediction is of all of its words.

    Args:
        hidden: width of the encoder.
        weights: what a word counts for, shape (vocabulary,).
    """

    weights: Tensor

    def __init__(self, hidden: int, weights: Tensor) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-5)
        self.bias = nn.Parameter(torch.zeros(len(weights)))
        self.register_buffer("weights", weights)
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, hidden: Tensor, batch: Batch, embeddings: Tensor) -> Tensor:
        """Cross-entropy of the weighted words, the mean over the reviews.

        Args:
            hidden: the encoder's output, shape (T, hidden).
            batch: the reviews, unmasked.
            embeddings: the encoder's word embeddings, shape (vocabulary, hidden).
        """
        begins, ends = batch.boundaries[:-1], batch.boundaries[1:]
        states = hidden[begins.long().clamp(max=len(hidden) - 1)]
        states = self.norm(nn.functional.gelu(self.dense(states)))
        scores = nn.functional.linear(states, embeddings, self.bias).float()
        weights = self.weights[batch.tokens]
        chosen = weights * scores[batch.review, batch.tokens]
        empty = torch.zeros(len(states), device=hidden.device)
        total = empty.index_add(0, batch.review, weights)
        per_review = scores.logsumexp(-1) - empty.index_add(0, batch.review, chosen) / total.clamp(min=1e-6)
        # The places that no review fills, and the tail of one that holds separators only, say nothing.
        present = (ends > begins) & (total > 0)
        return (per_review * present).sum() / present.sum()
