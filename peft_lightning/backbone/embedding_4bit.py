"""Word embeddings in four bits: once the linear layers are quantised, they are most of an encoder's memory.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from bitsandbytes.nn.modules import Embedding4bit, Params4bit
from torch import Tensor, nn

from peft_lightning.backbone.heads import head_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Single rows can be unpacked only where they are whole blocks; else every forward pass would unpack the whole table.
_BLOCK = 64


class FrozenEmbedding4bit(Embedding4bit):
    """A table of embeddings in four bits (Dettmers et al. 2023, arXiv:2305.14314) that a ``state_dict`` can hold."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Saves as a 4-bit linear layer does; bitsandbytes' own embedding raises, so every checkpoint would fail."""
        nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)
        state: dict[str, Tensor] = self.weight.quant_state.as_dict(packed=True)  # type: ignore[attr-defined]
        for name, value in state.items():
            destination[f"{prefix}weight.{name}"] = value if keep_vars else value.detach()


def quantise_word_embeddings(model: PreTrainedModel, quant_type: str) -> str | None:
    """Quantises the table of word embeddings to four bits, on the device that it lies on.

    Position and token type embeddings are small and stay as they are.

    Args:
        model: A model just loaded; it is changed in place.
        quant_type: ``nf4`` or ``fp4``.

    Returns:
        A note that says why the table is not quantised, or None where it is.
    """
    table = cast("nn.Embedding", model.get_input_embeddings())
    name = next(name for name, module in model.named_modules() if module is table)
    holders = [other for other, weight in model.named_parameters(remove_duplicate=False) if weight is table.weight]
    if any(f"{name}.".startswith(f"{module}.") for module in head_modules(model)):
        return "the word embeddings are trained, so they are not quantised"
    if len(holders) > 1:
        return f"the word embeddings are not quantised: {' and '.join(holders)} share them"
    if table.embedding_dim % _BLOCK:
        return f"the word embeddings are not quantised: their width {table.embedding_dim} is no multiple of {_BLOCK}"
    if type(table) is not nn.Embedding:
        # Gemma's and BART's multiply each embedding by a factor, which a table in four bits would leave out.
        return f"the word embeddings are not quantised: {type(table).__name__} is more than a table"
    words = table.weight
    with torch.device("meta"):  # on a real device the table would be filled with random numbers first
        packed: Any = FrozenEmbedding4bit(  # type: ignore[no-untyped-call]
            table.num_embeddings, table.embedding_dim, words.dtype, quant_type
        )
    weight: Any = Params4bit(words.data, compress_statistics=False, quant_type=quant_type, module=packed)
    packed.weight = weight.to(words.device)  # the move quantises it
    packed.padding_idx = table.padding_idx
    packed.train(table.training)
    model.set_input_embeddings(packed)
    return None
