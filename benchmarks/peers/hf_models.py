"""The models of the study, made as its notebook made them, and those of decoders' recipes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from peers.decoder_recipe import build_decoder
from peers.four_bits import keep_4bit_trainable
from side_by_side.peer_job import PeerJob


def build_model(job: PeerJob, compute_dtype: torch.dtype = torch.float32, prepare_kbit: bool = False) -> Any:
    """Loads the backbone and adapts it.

    Args:
        job: method and backbone.
        compute_dtype: the type that 4-bit weights are dequantised to.
        prepare_kbit: run PEFT's `prepare_model_for_kbit_training` on a 4-bit backbone, which turns gradient
            checkpointing on.

    Returns:
        The model to train.
    """
    if job.recipes == "decoder":
        return build_decoder(job)
    model = load_classifier(job, compute_dtype)
    if job.method == "full":
        return model
    from peft import IA3Config, LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

    if job.method == "qlora" and prepare_kbit:
        model = prepare_model_for_kbit_training(model)  # type: ignore[no-untyped-call]
    config: Any
    if job.method == "lora":
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS, r=16, lora_alpha=32, lora_dropout=0.1, target_modules=["query", "value"]
        )
    elif job.method == "qlora":
        targets = ["query", "key", "value"]
        config = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=32, lora_dropout=0.05, target_modules=targets)
    else:
        config = IA3Config(task_type=TaskType.SEQ_CLS)
    return get_peft_model(model, config)


def load_classifier(job: PeerJob, compute_dtype: torch.dtype) -> Any:
    """Loads the backbone with a head for two classes; for QLoRA in four bits but for the head.

    Args:
        job: method and backbone.
        compute_dtype: the type that 4-bit weights are dequantised to.
    """
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    arguments: dict[str, Any] = {}
    if job.method == "qlora":
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype,
            llm_int8_skip_modules=["classifier"],
        )
        arguments["device_map"] = {"": 0 if torch.cuda.is_available() else "cpu"}
    model = AutoModelForSequenceClassification.from_pretrained(
        job.backbone, num_labels=2, dtype=torch.float32, **arguments
    )
    if job.method == "qlora":
        keep_4bit_trainable(model)
    return model


def count_trained(model: nn.Module) -> int:
    """Counts the weights that are trained, which shows that peers train the same."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
