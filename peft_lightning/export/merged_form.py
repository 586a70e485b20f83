"""A merged model as plain transformers loads it, in floats or put back into few bits."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from peft_lightning.backbone.loading import head_modules
from peft_lightning.backbone.locations import quiet_transformers
from peft_lightning.export.loading_code import LoadingCode, merged_code
from peft_lightning.export.model_files import describe_task
from peft_lightning.export.request import Dtype, FewBits
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def write_merged(
    module: TextClassifier, task: Task, folder: Path, dtype: Dtype | None, quantize: FewBits | None
) -> LoadingCode:
    """Writes a merged model.

    Args:
        module: The trained module on a backbone that is not quantised; it is of no use afterwards.
        task: What it was trained for.
        folder: The export's folder.
        dtype: Type of the weights; None for 32-bit floats.
        quantize: Bits of the linear layers below the head; None to leave them.

    Returns:
        How to load it.

    Raises:
        UserError: The method's adapters cannot be merged.
    """
    model = plain_model(module, task, dtype or "float32")
    if quantize is None:
        with quiet_transformers():
            model.save_pretrained(str(folder))
    else:
        _write_quantised(model, folder, quantize)
    return merged_code()


def plain_model(module: TextClassifier, task: Task, dtype: Dtype = "float32") -> PreTrainedModel:
    """Merges what was trained into a plain model.

    Args:
        module: The trained module on a backbone that is not quantised; it is of no use afterwards.
        task: What it was trained for.
        dtype: Type of the weights.

    Raises:
        UserError: The method's adapters cannot be merged.
    """
    model = module.merged()
    describe_task(model.config, task)
    model.to(getattr(torch, dtype))
    model.eval()
    return model


def _write_quantised(model: PreTrainedModel, folder: Path, quantize: FewBits) -> None:
    """Quantises as transformers does when it loads a model, on the CPU, so that every machine gets the same bits."""
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    # Without the head's names transformers would quantise a head of several layers.
    skipped = head_modules(model)
    bits: Any = (
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
        if quantize == "int8"
        else BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantize,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=model.dtype,
            llm_int8_skip_modules=skipped,
        )
    )
    with TemporaryDirectory(dir=folder) as whole, quiet_transformers():
        model.save_pretrained(whole)
        packed = AutoModelForSequenceClassification.from_pretrained(
            whole, quantization_config=bits, device_map={"": "cpu"}, dtype=model.dtype
        )
        packed.save_pretrained(str(folder))
