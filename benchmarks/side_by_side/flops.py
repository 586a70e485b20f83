"""What a training step cannot do without: its arithmetic and its optimiser's memory traffic, from first principles.

Counted are the tokens that are not padding, of an encoder with L layers of hidden size h and feed-forward size f.
A product of (m, k) and (k, n) takes 2·m·k·n operations; a multiplication by a weight of P entries 2·P a token.

* Forward, a token and layer: 2·(4h² + 2hf) for the weights and 4·h·length for scores and mixing of the attention,
  where `length` is that of the token's own review. The head's dense layer, 2·h², once a review. Embeddings look up.
* Backward of the attention: twice its forward: each of its products has gradients of both factors. Where the first
  layer's query or key is not adapted (LoRA, IA³), that gradient is left out.
* Backward of a trained weight: twice its forward, once for the gradient of its input and once for its own.
* Backward of a frozen weight: once its forward, for the gradient of its input alone; and not even that in the first
  layer's query, key and value, below which nothing is trained. Full fine-tuning goes on into the embeddings.
* LoRA: 2·r·2h a token and adapted layer forwards, twice that backwards (but for the first layer's inputs). IA³'s
  scaling is element by element and counted as nothing, as are norms, softmax, dropout, and the unpacking of 4-bit
  weights, which a kernel could do on the way: the floor may be too low, never too high.
* The optimiser reads weight, gradient and two moments and writes weight and moments: 28 bytes a trained weight with
  32-bit moments, 16 with 8-bit ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from side_by_side.peer_job import Method

# Adapted matrices in a layer and their rank, as the study has them.
_LORA = {"lora": (2, 16), "qlora": (3, 8)}


@dataclass(frozen=True)
class Encoder:
    """Sizes of an encoder.

    Args:
        layers: number of layers.
        hidden: hidden size.
        feedforward: size of the feed-forward layer.
        parameters: all weights, the head's included.
    """

    layers: int
    hidden: int
    feedforward: int
    parameters: int


def training_flops(encoder: Encoder, method: Method, lengths: Sequence[int]) -> float:
    """Counts the operations of a forward and a backward pass.

    Args:
        encoder: its sizes.
        method: what is trained.
        lengths: tokens of each review, without padding.

    Returns:
        Floating point operations, multiplications and additions apart.
    """
    tokens, squares = sum(lengths), sum(length * length for length in lengths)
    h, f = encoder.hidden, encoder.feedforward
    weights = 2.0 * (4 * h * h + 2 * h * f) * tokens * encoder.layers
    attention = 4.0 * h * squares * encoder.layers
    # The head's dense layer is trained by every method.
    total = 3 * attention + 3 * 2.0 * h * h * len(lengths)
    if method == "full":
        return total + 3 * weights
    total += 2 * weights - 2.0 * 3 * h * h * tokens
    if method != "qlora":
        total -= 2.0 * h * squares
    if method in _LORA:
        matrices, rank = _LORA[method]
        adapters = 2.0 * matrices * rank * 2 * h * tokens
        total += 3 * adapters * encoder.layers - 2.0 * matrices * rank * h * tokens
    return total


def trained_parameters(encoder: Encoder, method: Method) -> int:
    """Counts the weights that the optimiser moves; IA³ on PEFT's choice of layers.

    Args:
        encoder: its sizes.
        method: what is trained.
    """
    h = encoder.hidden
    if method == "full":
        return encoder.parameters
    head = h * h + h + 2 * h + 2
    if method in _LORA:
        matrices, rank = _LORA[method]
        return head + encoder.layers * matrices * rank * 2 * h
    # key and value are scaled at their output, both `output.dense` at their input.
    return head + encoder.layers * (3 * h + encoder.feedforward)


def optimizer_bytes(encoder: Encoder, method: Method, eight_bit: bool) -> int:
    """Counts the bytes that an AdamW step reads and writes.

    Args:
        encoder: its sizes.
        method: what is trained.
        eight_bit: whether the moments are kept in eight bits.
    """
    return trained_parameters(encoder, method) * (16 if eight_bit else 28)
