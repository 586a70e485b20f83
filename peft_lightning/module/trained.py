"""Loads a trained model without a Trainer: from a run's directory into a module that answers texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.data.examples import PadToLongest
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.errors import UserError
from peft_lightning.recipes import read_config
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.task import Task, problem_type_in, task_named

if TYPE_CHECKING:
    from peft_lightning.module.classifier import TextClassifier


def restore(module_class: type[TextClassifier], run: Path, checkpoint: str) -> TextClassifier:
    """Makes the module of a run with the weights of one of its checkpoints.

    Args:
        module_class: The class of the module.
        run: The run's directory.
        checkpoint: ``best``, ``last``, or a checkpoint file.

    Returns:
        The module on the CPU, in evaluation mode.

    Raises:
        UserError: The directory holds no run, or the checkpoint is not there or not of this run.
    """
    from jsonargparse import ArgumentParser

    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} holds no run (config.yaml): name a run, such as lightning_logs/lora/version_0")
    config = read_config(path)
    weights = run / "checkpoints" / f"{checkpoint}.ckpt" if checkpoint in ("best", "last") else Path(checkpoint)
    content = read_checkpoint(weights)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(module_class, "model")
    module = cast("TextClassifier", parser.instantiate(parser.parse_object({"model": config["model"]})).model)
    precision = str(config["trainer"]["precision"])
    module.build(task_of(content, weights), precision)
    module.on_load_checkpoint(content)
    module.load_state_dict(content["state_dict"], strict=False)
    if precision.endswith("-true"):
        module.to(compute_dtype(precision))
    data = config["data"]
    module.text_settings = TextSettings(data["max_length"], data["truncation"], data["cache_dir"], precision)
    return module.eval()


class TextSettings:
    """How a run read its texts, and in which precision it computed.

    Args:
        max_length: The most tokens of a text.
        truncation: Which part of a longer text is kept.
        cache_dir: The folder that keeps tokenised texts; None for the user's cache folder.
        precision: Lightning's name for the precision, such as ``bf16-mixed``.
    """

    def __init__(self, max_length: int, truncation: Any, cache_dir: str | None, precision: str) -> None:
        self.max_length = max_length
        self.truncation = truncation
        self.cache_dir = cache_dir
        self.precision = precision

    def answers(self, module: TextClassifier, texts: Sequence[str], batch_size: int) -> list[Any]:
        """Computes the answers to texts, in their order.

        Args:
            module: The trained module.
            texts: The texts, none of them blank.
            batch_size: The number of texts in a batch.

        Returns:
            An answer for each text, as plain Python numbers.
        """
        tokeniser = ReviewTokeniser(
            module.model_name_or_path, module.revision, self.max_length, self.truncation, self.cache_dir
        )
        examples = tokeniser.tokenise(texts, np.arange(len(texts)))
        collate = PadToLongest(tokeniser.pad_token_id, 1, self.max_length)
        device = module.device
        mixed = torch.autocast(device.type, compute_dtype(self.precision), enabled=self.precision.endswith("-mixed"))
        answers: list[Any] = []
        with torch.inference_mode(), mixed:
            for start in range(0, len(texts), batch_size):
                batch = collate([examples[position] for position in range(start, min(start + batch_size, len(texts)))])
                moved = {name: values.to(device) for name, values in batch.items()}
                answers += module.predict_step(moved, 0).tolist()
        return answers


def task_of(content: dict[str, Any], path: Path) -> Task:
    """Returns the task that a checkpoint was trained for.

    Args:
        content: The content of the checkpoint.
        path: The checkpoint's file, for the error.

    Raises:
        UserError: The checkpoint does not name its task or classes.
    """
    state = content["peft_lightning"]
    try:
        return task_named(problem_type_in(state)).from_state(state)
    except KeyError as error:
        raise UserError(
            f"{path} does not say which classes it was trained on: use best.ckpt or last.ckpt of a run"
        ) from error
