"""Loads what a folder holds, a run or an export, so that it answers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from peft_lightning.serving.answerer import Answerer, fastest_device
from peft_lightning.serving.exported import load_export


def load_answerer(folder: Path, checkpoint: str, device: torch.device | None) -> Answerer:
    """Loads a run's model, or one of a folder with an adapter, a whole model or an ONNX model, and its tokenizer.

    Args:
        folder: The folder; its files tell what it is.
        checkpoint: Which weights of a run: ``best``, ``last`` or a file.
        device: Where it is to compute; None for a GPU if there is one that can run it.

    Raises:
        UserError: It cannot be loaded, or only by executing code of its own.
    """
    if not (folder / "config.yaml").is_file():
        return load_export(folder, device)
    return _of_run(folder, checkpoint, device or fastest_device())


def _of_run(run: Path, checkpoint: str, device: torch.device) -> Answerer:
    from peft_lightning.module.classifier import TextClassifier

    module = TextClassifier.load_trained(run, checkpoint).to(device)
    settings = module.text_settings
    # Both are set by load_trained.
    assert settings is not None
    assert module.task is not None
    tokeniser = settings.tokeniser()

    def logits(batch: dict[str, Tensor]) -> Tensor:
        with settings.autocast(device):
            computed: Tensor = module(batch)
        return computed

    description = {"model": module.model_name_or_path, "method": module.method.name, "weights": f"{run} ({checkpoint})"}
    return Answerer(module.task, tokeniser, logits, device, settings.max_length, description, settings.in_pairs)
