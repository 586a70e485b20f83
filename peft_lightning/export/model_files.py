"""The files that every export holds: the tokenizer, and a configuration that knows labels and problem type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.backbone.heads import DECISION_THRESHOLDS, FOLDED_TEMPERATURE, describe_outputs
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.text_ends import choose_pad_token, end_texts, pad_apart_from_end
from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.data.truncation import Truncation, surrounding, window
from peft_lightning.errors import Setting, UserError
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.task import Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def write_tokenizer(folder: Path, texts: TextSettings) -> tuple[int, int] | None:
    """Writes the tokenizer that cuts texts as the run did where a tokenizer can: from the end, or from the beginning.

    Of pairs a run keeps what the tokenizer itself keeps, so its side stays.

    Args:
        folder: The export's folder.
        texts: How the run read its texts.

    Returns:
        None where the tokenizer alone cuts as the run did, or makes the run's windows. Otherwise the numbers of tokens
        that the run kept from the beginning and from the end of a longer text, special ones included.
    """
    tokenizer = load_tokenizer(texts.model_name_or_path, texts.revision)
    backbone = Backbone(texts.model_name_or_path, texts.revision)
    _end_and_pad(tokenizer, backbone, folder, texts)
    if backbone.token_types() <= 1:
        # DistilBERT's tokenizer is BERT's, and makes what its model refuses.
        kept = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        if kept != list(tokenizer.model_input_names):
            tokenizer.model_input_names = kept
            tokenizer.init_kwargs["model_input_names"] = kept
    tokenizer.model_max_length = texts.max_length
    sides = {"padding_side": "right", "truncation_side": tokenizer.truncation_side}
    if not texts.in_pairs:
        sides["truncation_side"] = "left" if texts.truncation == "tail" else "right"
    for name, side in sides.items():
        setattr(tokenizer, name, side)
        tokenizer.init_kwargs[name] = side  # what is saved; the attribute alone is forgotten in silence
    # What a past call has set would be saved as the tokenizer's own habit.
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(str(folder))
    return _window(tokenizer("a film", return_special_tokens_mask=True)["special_tokens_mask"], texts)


def shared_by_windows(folder: Path, texts: TextSettings) -> int | None:
    """Returns how many tokens two windows of a longer text share; None where the run cut longer texts.

    Args:
        folder: The export's folder, with its tokenizer.
        texts: How the run read its texts.

    Raises:
        UserError: The tokenizer does not make windows.
    """
    if texts.truncation != "windows":
        return None
    windows = texts.tokeniser().windows
    if windows is not None and not load_tokenizer(str(folder)).is_fast:
        raise UserError(
            f"the tokenizer of {texts.model_name_or_path} is a slow one, which makes no windows, so nothing could prove"
            " the export: train again with ",
            Setting("data.truncation", "head"),
        )
    return None if windows is None else windows.overlap


def _end_and_pad(tokenizer: PreTrainedTokenizerBase, backbone: Backbone, folder: Path, texts: TextSettings) -> None:
    """Ends texts as the run did, and tells a decoder's configurations which token pads: transformers goes by it."""
    embeddings = backbone.embeddings()
    is_scored_last = backbone.scores_last_token()
    if is_scored_last:
        choose_pad_token(tokenizer, embeddings)
    if texts.add_eos_token:
        end_texts(tokenizer)
    if not is_scored_last:
        return
    pad_apart_from_end(tokenizer, embeddings)
    for path in folder.rglob("config.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["pad_token_id"] = tokenizer.pad_token_id
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _window(special_tokens_mask: list[int], texts: TextSettings) -> tuple[int, int] | None:
    whole: tuple[Truncation, ...] = ("head", "tail", "windows")
    if texts.in_pairs or texts.truncation in whole:
        return None
    leading, trailing = surrounding(special_tokens_mask)
    head, tail = window(texts.max_length - leading - trailing, texts.truncation)
    return leading + head, tail + trailing


def describe_task(config: PretrainedConfig, task: Task) -> None:
    """Writes the task's labels and kind of problem into a configuration, and what was fitted after training.

    Args:
        config: The configuration of the exported model; it is changed in place.
        task: What the model was trained for.
    """
    describe_outputs(config, task.problem_type, task.output_names)
    # transformers keeps entries that it does not know.
    if thresholds := task.named_thresholds():
        setattr(config, DECISION_THRESHOLDS, thresholds)
    if (temperature := temperature_of(task)) != 1.0:
        setattr(config, FOLDED_TEMPERATURE, temperature)


def temperature_of(task: Task) -> float:
    """Returns the temperature that was fitted for a task; 1 if none was."""
    calibration = task.calibration
    return 1.0 if calibration is None or calibration.temperature is None else calibration.temperature
