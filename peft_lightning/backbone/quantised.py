"""Backbones whose linear layers are held in four or eight bits by bitsandbytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.backbone.heads import add_loading_note
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

Bits = Literal["nf4", "fp4", "int8"]
QuantiseOn = Literal["auto", "cpu", "gpu"]

# Quantising takes a CPU some 7 s for a billion weights (a host of an H200, 72 s for 7 billion with their loading; the
# GPU takes less than one). Below it a run gets the same bits on every machine, at a cost that is hardly seen.
MANY_WEIGHTS = 10**9


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


def require_quantising(quantisation: Quantisation, asked: QuantiseOn, device: torch.device) -> None:
    """Refuses to quantise where bitsandbytes, or the GPU that is asked for, is missing.

    Args:
        quantisation: How the linear layers are quantised.
        asked: Where they are to be quantised.
        device: The device that the model will run on.

    Raises:
        UserError: bitsandbytes is not installed, or the GPU is asked for and the model will not run on one.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"a backbone in {quantisation.bits} needs bitsandbytes, which is not installed: pip install bitsandbytes"
        )
    if asked == "gpu" and device.type != "cuda":
        raise UserError(
            "there is no CUDA GPU to quantise on: use ", Setting("model.quantize_on", "cpu"), ", or leave it out"
        )


def quantising_device(asked: QuantiseOn, device: torch.device, outline: nn.Module) -> torch.device:
    """Decides where weights are quantised.

    Args:
        asked: ``cpu``, for the same bits on every machine; ``gpu``, many times as fast; ``auto``, which is the GPU for
            a billion weights or more.
        device: The device that the model will run on.
        outline: The model without its weights.

    Returns:
        The CPU, or ``device``.
    """
    many = sum(weight.numel() for weight in outline.parameters()) >= MANY_WEIGHTS
    on_gpu = device.type == "cuda" and (asked == "gpu" or (asked == "auto" and many))
    return device if on_gpu else torch.device("cpu")


def quantisation_config(quantisation: Quantisation, compute_dtype: torch.dtype, head: Sequence[str]) -> Any:
    """Says in transformers' words how a model is quantised while it is loaded.

    Args:
        quantisation: How its linear layers are quantised.
        compute_dtype: The type that 4-bit weights are dequantised to.
        head: The modules that are trained: without these names transformers guesses which module is the head, and a
            quantised head cannot be trained.
    """
    from transformers import BitsAndBytesConfig

    if quantisation.bits == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(head))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation.bits,
        bnb_4bit_use_double_quant=quantisation.double,
        bnb_4bit_compute_dtype=compute_dtype,
        llm_int8_skip_modules=list(head),
    )


def prepare_quantised(model: PreTrainedModel, quantisation: Quantisation, dtype: BackboneDtype) -> None:
    """Freezes a model that was quantised while it was loaded, and makes its layers fit for training.

    Args:
        model: The model; it is changed in place. Where ``dtype`` is ``smallest``, its word embeddings are packed too.
        quantisation: How its linear layers are quantised.
        dtype: The form of its other weights.
    """
    model.requires_grad_(False)
    if quantisation.bits == "int8":
        from peft_lightning.backbone.linear_8bit import make_movable

        make_movable(model)
        return
    _prepare_4bit(model, dtype != "float32")
    if dtype == "smallest":
        from peft_lightning.backbone.embedding_4bit import quantise_word_embeddings

        note = quantise_word_embeddings(model, quantisation.bits)
        if note:
            add_loading_note(model, note)
        from peft_lightning.backbone.linear_4bit import unpack_in_pieces

        unpack_in_pieces(model)
    from peft_lightning.backbone.scales_4bit import MOST_BYTES, MOST_OF_SMALLEST, unpack_scales

    unpack_scales(model, MOST_OF_SMALLEST if dtype == "smallest" else MOST_BYTES)


def dequantise_where_packed(model: PreTrainedModel) -> None:
    """Unpacks the layers of a quantised model; leaves any other as it is.

    Args:
        model: A model just loaded, before adapters are added; it is changed in place.
    """
    if is_packed(model):
        from peft_lightning.backbone.dequantised import dequantise

        dequantise(model)


def is_packed(model: nn.Module) -> bool:
    """Tells whether a backbone's linear layers are held in four or eight bits.

    Args:
        model: A model that was loaded by ``Backbone.load``, adapted or not.
    """
    return getattr(getattr(model, "config", None), "quantization_config", None) is not None


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


def _prepare_4bit(model: PreTrainedModel, half: bool) -> None:
    from bitsandbytes.nn.modules import Linear4bit

    from peft_lightning.backbone.cpu_dequantising import unpack_as_trained

    unpack_as_trained(model)
    for module in model.modules():
        if half and isinstance(module, Linear4bit):
            # Else the backward pass unpacks each weight to 32 bits before it narrows it.
            module.weight.quant_state.dtype = torch.bfloat16  # type: ignore[attr-defined]
