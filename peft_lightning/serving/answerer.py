"""A trained model that answers tokenised texts, whether it comes from a run or from a folder that others load too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from peft_lightning.backbone.architectures import longest_input
from peft_lightning.backbone.heads import DECISION_THRESHOLDS
from peft_lightning.backbone.locations import first_line, locate, quiet_transformers
from peft_lightning.data.examples import Example
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.errors import UserError
from peft_lightning.task import Task, task_named
from peft_lightning.task.calibration import Calibration

# Longer than any model's limit: tokenizers that state none say 10**30.
_NO_LIMIT = 10**6
# A long text has a batch of its own, in which the model reads so many of its windows at once.
_WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class Answerer:
    """Answers texts.

    Args:
        task: What the answers are.
        tokeniser: Makes tokens of texts.
        logits: Runs the network on a batch on ``device``.
        device: Where it is.
        max_length: Number of tokens that a text is cut to.
        description: What ``/health`` tells of it.
    """

    task: Task
    tokeniser: ReviewTokeniser
    logits: Callable[[dict[str, Tensor]], Tensor]
    device: torch.device
    max_length: int
    description: Mapping[str, Any]

    def tokenise(self, texts: Sequence[str]) -> list[Tensor]:
        """Returns the token ids of each text.

        Raises:
            UserError: A text makes no token.
        """
        return self.tokeniser.token_ids(texts)

    def answer(self, texts: Sequence[Tensor]) -> list[dict[str, Any]]:
        """Answers texts in one batch, as ``predict`` writes them.

        Args:
            texts: The token ids of each text.
        """
        examples = [Example(input_ids=ids, label=None, index=place) for place, ids in enumerate(texts)]
        batch = self.tokeniser.collate(1, _WINDOWS_AT_ONCE)(examples)
        del batch["index"]
        with torch.inference_mode():
            on_device = move_data_to_device(batch, self.device)
            answers = self.task.answer(self.logits(on_device).float())
        return [self.task.line(answer) for answer in answers.tolist()]


def load_answerer(folder: Path, checkpoint: str, device: torch.device) -> Answerer:
    """Loads a run's model, or one of a folder with an adapter or a whole model and its tokenizer.

    Args:
        folder: The folder; its files tell what it is.
        checkpoint: Which weights of a run: ``best``, ``last`` or a file.
        device: Where it is to compute.

    Raises:
        UserError: It cannot be loaded, or only by executing code of its own.
    """
    if (folder / "config.yaml").is_file():
        return _of_run(folder, checkpoint, device)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name a run, such as lightning_logs/lora/version_0, or an export")
    if not (folder / "config.json").is_file():
        has_onnx = any(folder.rglob("*.onnx"))
        what = (
            "ONNX files, which need another server" if has_onnx else "no run (config.yaml) and no export (config.json)"
        )
        raise UserError(f"{folder} holds {what}: name a run's directory, a merged model or an adapter")
    return _of_export(folder, device)


def _of_run(run: Path, checkpoint: str, device: torch.device) -> Answerer:
    from peft_lightning.module.classifier import TextClassifier

    module = TextClassifier.load_trained(run, checkpoint).to(device)
    settings = module.text_settings
    # Both are set by load_trained.
    assert settings is not None
    assert module.task is not None
    if settings.in_pairs:
        raise UserError(f"{run} is of pairs of texts, and serve takes single ones: use predict")
    tokeniser = settings.tokeniser()

    def logits(batch: dict[str, Tensor]) -> Tensor:
        with settings.autocast(device):
            computed: Tensor = module(batch)
        return computed

    description = {"model": module.model_name_or_path, "method": module.method.name, "weights": f"{run} ({checkpoint})"}
    return Answerer(module.task, tokeniser, logits, device, settings.max_length, description)


def _of_export(folder: Path, device: torch.device) -> Answerer:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    adapter = folder / "adapter_config.json"
    weights = "adapter_model.safetensors" if adapter.is_file() else "model*.safetensors"
    if not any(folder.glob(weights)):
        raise UserError(f"{folder} holds no {weights}: files of other formats could execute code, and are not loaded")
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            safe: dict[str, Any] = {"config": config, "use_safetensors": True, "trust_remote_code": False}
            if adapter.is_file():
                from peft import PeftModel

                base = json.loads(adapter.read_text(encoding="utf-8"))
                name, revision = str(base["base_model_name_or_path"]), base.get("revision")
                pretrained = AutoModelForSequenceClassification.from_pretrained(locate(name), revision=revision, **safe)
                model: Any = PeftModel.from_pretrained(pretrained, str(folder))
                method = str(base["peft_type"]).lower()
            else:
                model = AutoModelForSequenceClassification.from_pretrained(folder, **safe)
                name, method = str(folder), "merged"
        # Several libraries read these files, each with exceptions of its own.
        except Exception as error:
            raise UserError(f"{folder} cannot be loaded ({first_line(error)}): export the run again") from error
    model = model.to(device).eval()
    stated = _stated_limit(folder)
    limit = min(_NO_LIMIT if longest is None else longest for longest in (longest_input(model), stated))
    tokeniser = ReviewTokeniser(str(folder), None, limit, "head", None)
    description = {"model": name, "method": method, "weights": str(folder)}
    return Answerer(
        _task_of(config, folder), tokeniser, lambda batch: model(**batch).logits, device, limit, description
    )


def _stated_limit(folder: Path) -> int | None:
    """Returns the number of tokens that a folder's tokenizer cuts texts to."""
    try:
        limit = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        return None
    return int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else None


def _task_of(config: Any, folder: Path) -> Task:
    names = [config.id2label[number] for number in range(config.num_labels)]
    kind = task_named(config.problem_type or "single_label_classification")
    try:
        task = kind.from_state({"problem_type": kind.problem_type, "class_names": names})
        stated = getattr(config, DECISION_THRESHOLDS, None)
        if stated is None:
            return task
        # An export's head answers with the temperature already; its thresholds can only be stated.
        thresholds = tuple(float(stated[name]) for name in names if name in stated)
        if len(thresholds) != len(task.calibrated(Calibration(thresholds=thresholds)).named_thresholds()):
            raise KeyError(DECISION_THRESHOLDS)
        return task.calibrated(Calibration(thresholds=thresholds))
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{folder} does not say what its outputs mean ({error}): export the run again") from error
