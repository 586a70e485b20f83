"""QLoRA: LoRA beside weights that are kept in four bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.lora import LoRA


class QLoRA(LoRA):
    """Trains LoRA's updates beside weights quantised to four bits (Dettmers et al. 2023, arXiv:2305.14314).

    It leaves gradient checkpointing off, which PEFT's `prepare_model_for_kbit_training` turns on.

    Args:
        r: Rank of the update.
        lora_dropout: Probability of zeroing an input of the update, in [0, 1).
        target_modules: Suffixes of the names of the layers to adapt, or `all-linear` for every linear layer
            of the encoder, as the paper advises; an architecture that lacks the default ones gets PEFT's own.
        quant_type: Four-bit data type: `nf4` (normal float, the paper's) or `fp4`.
        use_double_quant: Quantise the quantisation constants too (0.4 bit less per weight). Where that saves less than
            32 MiB, they are unpacked at the start rather than at every step, to the same values; never under
            `backbone_dtype: smallest`.
        lora: LoRA's other arguments.

    Raises:
        UserError: A value is out of its range.
    """

    name = "qlora"
    # bitsandbytes casts the biases of 4-bit layers to the compute type, so they cannot be trained.
    decided = frozenset({"bias"})
    packs_backbone = True

    def __init__(
        self,
        r: int = 8,
        lora_dropout: float = 0.05,
        target_modules: Sequence[str] | Literal["all-linear"] = ("query", "key", "value"),
        quant_type: Literal["nf4", "fp4"] = "nf4",
        use_double_quant: bool = True,
        **lora: Any,
    ) -> None:
        super().__init__(r=r, lora_dropout=lora_dropout, target_modules=target_modules, bias="none", **lora)
        self.quant_type = quant_type
        self.use_double_quant = use_double_quant

    def form_of(self, backbone: Backbone) -> Backbone:
        """Returns the encoder with its linear layers in four bits; embeddings and norms are in ``backbone.dtype``.

        Args:
            backbone: The encoder. Its ``compute_dtype`` is the type that the 4-bit weights are dequantised to. Where
                its ``dtype`` is ``smallest``, the word embeddings are in four bits too.

        Raises:
            UserError: It is to be quantised in another way.
        """
        if backbone.quantisation is not None:
            raise UserError(
                "qlora quantises the backbone itself: leave ",
                Setting("model.quantization"),
                " out, or use LoRA with it",
            )
        return replace(backbone, quantisation=Quantisation(self.quant_type, self.use_double_quant))
