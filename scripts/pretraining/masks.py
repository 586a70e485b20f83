"""Which tokens of a batch are hidden, drawn anew at each step, on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from pretraining.bpe import MASK, SPECIAL_TOKENS


def draw_masks(
    tokens: Tensor, share: float, span: float, vocab: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Hides spans of tokens (Joshi et al. 2020, SpanBERT).

    Of those chosen 80 % become `<mask>`, 10 % another token, 10 % stay. Their number is fixed: shapes stay static,
    and the device need not wait for the host.

    Args:
        tokens: token ids, shape (T,).
        share: share of the tokens to choose.
        span: mean length of a span (geometric); 1 hides token by token, as BERT does. A span ends where a review does.
        vocab: tokens in the vocabulary.
        generator: on the device of `tokens`.

    Returns:
        the tokens to show (T,), the chosen positions (K,), and what stood there (K,), -100 for what is not asked for.
    """
    count = max(1, round(share * len(tokens)))
    special = tokens < len(SPECIAL_TOKENS)

    def dice(size: int) -> Tensor:
        return torch.rand(size, device=tokens.device, generator=generator)

    # Every token draws the lot of its span: the spans with the highest lots are hidden.
    spans = ((dice(len(tokens)) < 1.0 / span) | special).long().cumsum(0) - 1
    lots = dice(len(tokens))[spans.clamp(min=0)].masked_fill(special, -1.0)
    positions = lots.topk(count).indices
    targets = tokens[positions]
    kind = dice(count)
    others = torch.randint(len(SPECIAL_TOKENS), vocab, targets.shape, device=tokens.device, generator=generator)
    shown = torch.where(kind < 0.8, torch.full_like(targets, MASK), torch.where(kind < 0.9, others, targets))
    # A batch of little but separators: what is special is neither hidden nor asked for.
    asked = targets >= len(SPECIAL_TOKENS)
    shown = torch.where(asked, shown, targets)
    return tokens.scatter(0, positions, shown), positions, targets.masked_fill(~asked, -100)
