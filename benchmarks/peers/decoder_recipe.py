"""What a recipe of `configs/decoder/` asks for, in the words of transformers, PEFT and bitsandbytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from side_by_side.peer_job import PeerJob

_CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "decoder"


@dataclass(frozen=True)
class DecoderRecipe:
    """A recipe, as peers take it.

    Args:
        dtype: the type that the backbone is loaded in.
        adapters: arguments of PEFT's `LoraConfig`; None for full fine-tuning.
        four_bits: arguments of transformers' `BitsAndBytesConfig`; None where nothing is quantised.
        paged_8bit: whether the optimiser is bitsandbytes' paged AdamW with state in eight bits.
        schedule: transformers' name of the schedule.
        warmup_ratio: the share of the steps over which the rate rises.
        weight_decay: AdamW's.
        clip: the norm that gradients are clipped at.
        adds_eos: whether each text ends in the end-of-text token.
    """

    dtype: torch.dtype
    adapters: dict[str, Any] | None
    four_bits: dict[str, Any] | None
    paged_8bit: bool
    schedule: str
    warmup_ratio: float
    weight_decay: float
    clip: float
    adds_eos: bool

    def warmup_steps(self, steps: int) -> int:
        """The steps over which the rate rises."""
        return round(self.warmup_ratio * steps)


def read_recipe(job: PeerJob) -> DecoderRecipe:
    """Reads the recipe of a job.

    Args:
        job: its method names the recipe's file.
    """
    content = yaml.safe_load((_CONFIGS / f"{job.method}.yaml").read_text(encoding="utf-8"))
    model = content["model"]
    settings = model["method"].get("init_args", {})
    schedule = {"constant": "constant_with_warmup"}.get(model["schedule"], model["schedule"])
    adapters = {k: v for k, v in settings.items() if k not in ("quant_type", "use_double_quant")}
    four_bits = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": settings.get("quant_type"),
        "bnb_4bit_use_double_quant": settings.get("use_double_quant"),
        "bnb_4bit_compute_dtype": torch.bfloat16,
        "llm_int8_skip_modules": ["score"],
    }
    return DecoderRecipe(
        dtype=torch.float32 if model["backbone_dtype"] == "float32" else torch.bfloat16,
        adapters=adapters or None,
        four_bits=four_bits if job.in_four_bits else None,
        paged_8bit=model["optimizer"] == "paged_adamw_8bit",
        schedule=schedule,
        warmup_ratio=model["warmup_ratio"],
        weight_decay=model["weight_decay"],
        clip=content["trainer"]["gradient_clip_val"],
        adds_eos=content["data"]["add_eos_token"],
    )


def build_decoder(job: PeerJob) -> Any:
    """Loads a decoder with a head for two classes, and adapts it.

    Trained weights are in 32 bits beside frozen ones in bf16 or four bits, as they are here and in most scripts.

    Args:
        job: method and backbone.

    Returns:
        The model to train.
    """
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    from side_by_side.shared_reviews import load_tokenizer

    recipe = read_recipe(job)
    arguments: dict[str, Any] = {}
    if recipe.four_bits is not None:
        arguments["quantization_config"] = BitsAndBytesConfig(**recipe.four_bits)
        arguments["device_map"] = {"": int(os.environ.get("LOCAL_RANK", 0)) if torch.cuda.is_available() else "cpu"}
    model = AutoModelForSequenceClassification.from_pretrained(
        job.backbone, num_labels=2, dtype=recipe.dtype, **arguments
    )
    # Without it transformers scores no batch of more than one text; and no key or value is kept for further tokens.
    model.config.pad_token_id = load_tokenizer(job.backbone).pad_token_id
    model.config.use_cache = False
    if recipe.four_bits is not None:
        from peers.four_bits import keep_4bit_trainable

        keep_4bit_trainable(model)
    if recipe.adapters is not None:
        from peft import LoraConfig, TaskType, get_peft_model

        model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, **recipe.adapters))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return model
