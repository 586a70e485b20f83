"""Backbones whose linear layers are held in four or eight bits by bitsandbytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch

from peft_lightning.backbone.heads import add_loading_note, head_modules
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from peft_lightning.backbone.loading import Backbone

Bits = Literal["nf4", "fp4", "int8"]


@dataclass(frozen=True)
class Quantisation:
    """How the linear layers are quantised.

    Args:
        bits: ``nf4`` (normal float) or ``fp4``, four bits (Dettmers et al. 2023, arXiv:2305.14314); or ``int8``, eight
            bits with outliers in 16 (Dettmers et al. 2022, arXiv:2208.07339).
        double: Whether the scales of four bits are quantised too.
    """

    bits: Bits
    double: bool = True


def load_quantised(backbone: Backbone, num_labels: int, quantisation: Quantisation) -> PreTrainedModel:
    """Loads an encoder with its linear layers quantised; embeddings and norms are in ``backbone.dtype``.

    Args:
        backbone: The encoder. Its ``compute_dtype`` is the type that 4-bit weights are dequantised to. Where its
            ``dtype`` is ``smallest``, the word embeddings are in four bits too.
        num_labels: Number of classes.
        quantisation: How its linear layers are quantised.

    Returns:
        The frozen model on the CPU; it is quantised there, so that every machine gets the same bits.

    Raises:
        UserError: bitsandbytes is missing, or the encoder cannot be loaded.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"a backbone in {quantisation.bits} needs bitsandbytes, which is not installed: pip install bitsandbytes"
        )
    plain = replace(backbone, quantisation=None)
    # Without these names transformers guesses which module is the head, and a quantised head cannot be trained.
    config = _configuration(plain, quantisation, head_modules(plain.outline(num_labels)))
    model = plain.load(num_labels, config)
    model.requires_grad_(False)
    if quantisation.bits == "int8":
        from peft_lightning.backbone.linear_8bit import make_movable

        make_movable(model)
        return model
    _prepare_4bit(model, backbone.dtype != "float32")
    if backbone.dtype == "smallest":
        from peft_lightning.backbone.embedding_4bit import quantise_word_embeddings

        note = quantise_word_embeddings(model, quantisation.bits)
        if note:
            add_loading_note(model, note)
    else:
        from peft_lightning.backbone.scales_4bit import unpack_scales

        unpack_scales(model)
    return model


def dequantise_where_packed(model: PreTrainedModel) -> None:
    """Unpacks the layers of a quantised model; leaves any other as it is.

    Args:
        model: A model just loaded, before adapters are added; it is changed in place.
    """
    if getattr(model.config, "quantization_config", None) is not None:
        from peft_lightning.backbone.dequantised import dequantise

        dequantise(model)


def packed_as(model: PreTrainedModel) -> dict[str, Any] | None:
    """Returns the words of transformers' ``BitsAndBytesConfig`` that quantise a backbone as this model's is.

    Args:
        model: A model that was loaded by ``Backbone.load``, adapted or not.

    Returns:
        The arguments that differ from the class's defaults, in plain values; None if nothing is quantised.
    """
    config: Any = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    skipped = list(config.llm_int8_skip_modules or [])
    if config.load_in_8bit:
        return {"load_in_8bit": True, "llm_int8_skip_modules": skipped}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": config.bnb_4bit_quant_type,
        "bnb_4bit_use_double_quant": config.bnb_4bit_use_double_quant,
        "bnb_4bit_compute_dtype": str(config.bnb_4bit_compute_dtype).removeprefix("torch."),
        "llm_int8_skip_modules": skipped,
    }


def _configuration(backbone: Backbone, quantisation: Quantisation, head: list[str]) -> Any:
    from transformers import BitsAndBytesConfig

    if quantisation.bits == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=head)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation.bits,
        bnb_4bit_use_double_quant=quantisation.double,
        bnb_4bit_compute_dtype=backbone.compute_dtype,
        llm_int8_skip_modules=head,
    )


def _prepare_4bit(model: PreTrainedModel, half: bool) -> None:
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            # Else evaluation on an AVX512-BF16 CPU repacks the weights, and the next training step fails.
            module.support_avx512bf16_for_cpu = False
            if half:
                # Else the backward pass unpacks each weight to 32 bits before it narrows it.
                module.weight.quant_state.dtype = torch.bfloat16  # type: ignore[attr-defined]
