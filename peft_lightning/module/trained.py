"""What a run's directory says of the model that it trained: settings, weights, task, and how its texts are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources.checked_rows import checked_texts
from peft_lightning.data.sources.embedded_sources import PAIRS
from peft_lightning.data.sources.surrogates import refuse_half_characters
from peft_lightning.data.sources.text_pairs import TextPairs, Texts
from peft_lightning.data.truncation import Truncation
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, read_config
from peft_lightning.runs.checkpoint_io import read_checkpoint
from peft_lightning.runs.directory import checkpoint_of
from peft_lightning.task import Task, problem_type_in, task_named
from peft_lightning.task.calibration import Calibration

# The entry of a checkpoint's own section.
CALIBRATION = "calibration"


@dataclass(frozen=True)
class TextSettings:
    """How a run read its texts, and in which precision it computed.

    Args:
        model_name_or_path: The model whose tokenizer is used.
        revision: Branch, tag or commit of a hub model.
        max_length: Tokens that a text is cut to.
        truncation: What stays of a longer text.
        cache_dir: Folder that keeps tokenised texts; None is the user's cache folder.
        precision: Lightning's name, such as ``bf16-mixed``.
        in_pairs: Whether texts come in pairs.
        add_eos_token: Whether each text ends with the tokenizer's end-of-text token.
        window_stride: Tokens that two neighbouring windows of a text share; None for a quarter of a window.
    """

    model_name_or_path: str
    revision: str | None
    max_length: int
    truncation: Truncation
    cache_dir: str | None
    precision: str
    in_pairs: bool = False
    add_eos_token: bool = False
    window_stride: int | None = None

    def batches(self, texts: Sequence[str | tuple[str, str]], batch_size: int) -> Iterator[dict[str, Any]]:
        """Tokenises texts and pads them, in their order.

        Yields:
            ``input_ids`` and ``attention_mask``, (batch, length), on the CPU, and ``token_type_ids`` where the model
            takes them; of texts in windows what ``PadWindows`` makes.

        Raises:
            UserError: A text is blank, no string, no pair where the run is of pairs, or holds half of a character.
        """
        given = self._checked(texts)
        tokeniser = self.tokeniser()
        examples = tokeniser.tokenise(given, np.arange(len(given)))
        collate = tokeniser.collate(1, batch_size)
        for start in range(0, len(texts), batch_size):
            yield collate([examples[position] for position in range(start, min(start + batch_size, len(texts)))])

    def tokeniser(self) -> ReviewTokeniser:
        """Returns what makes tokens of texts as in the run.

        Raises:
            UserError: The tokenizer cannot be used.
        """
        return ReviewTokeniser(
            self.model_name_or_path,
            self.revision,
            self.max_length,
            self.truncation,
            self.cache_dir,
            self.add_eos_token,
            self.window_stride,
        )

    def _checked(self, texts: Sequence[str | tuple[str, str]]) -> Texts:
        if not self.in_pairs:
            single = checked_texts(texts, _name_of_text)
            refuse_half_characters(single, _name_of_text)
            return single
        for position, pair in enumerate(texts):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise UserError(f"{_name_of_text(position)} is no pair of texts, which the run was trained on")
        sides = []
        for side in (0, 1):

            def name(position: int, side: int = side) -> str:
                return f"{_name_of_text(position)}[{side}]"

            sides.append(checked_texts([pair[side] for pair in texts], name))
            refuse_half_characters(sides[side], name)
        return TextPairs(*sides)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Returns what a forward pass ran in: autocast under mixed precision, nothing otherwise."""
        dtype = compute_dtype(self.precision)
        return torch.autocast(device.type, dtype, enabled=self.precision.endswith("-mixed"))


def _name_of_text(position: int) -> str:
    return f"texts[{position}]"


@dataclass(frozen=True)
class TrainedRun:
    """What is needed to answer with a run's model.

    Args:
        model: The section ``model`` of its configuration.
        checkpoint: What the checkpoint holds.
        task: What it was trained for.
        texts: How it read its texts.
    """

    model: Config
    checkpoint: dict[str, Any]
    task: Task
    texts: TextSettings


def in_pairs(data: Config) -> bool:
    """Tells whether a run's texts come in pairs.

    Args:
        data: The section ``data`` of its configuration.
    """
    return data.get("text_pair_column") is not None or data["source"] == PAIRS


def read_trained(run: Path, checkpoint: str) -> TrainedRun:
    """Reads a run's configuration and one of its checkpoints.

    Args:
        run: The run's directory.
        checkpoint: ``best``, ``last``, or a file.

    Raises:
        UserError: The directory holds no run, or the checkpoint cannot be read.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} holds no run (config.yaml): name a run, such as lightning_logs/lora/version_0")
    config = read_config(path)
    weights = checkpoint_of(run, checkpoint) if checkpoint in ("best", "last") else Path(checkpoint)
    content = read_checkpoint(weights)
    model, data = config["model"], config["data"]
    texts = TextSettings(
        model["model_name_or_path"],
        model["revision"],
        data["max_length"],
        data["truncation"],
        data["cache_dir"],
        str(config["trainer"]["precision"]),
        in_pairs(data),
        data.get("add_eos_token", False),  # a run from before there was a choice has none
        data.get("window_stride"),
    )
    return TrainedRun(model, content, task_in_checkpoint(content, weights), texts)


def calibration_in(checkpoint: Mapping[str, Any]) -> Calibration | None:
    """Returns what was fitted on the answers of a checkpoint's weights; None if nothing was.

    Args:
        checkpoint: What the checkpoint holds.

    Raises:
        KeyError: If it holds it in part.
    """
    kept = checkpoint["peft_lightning"].get(CALIBRATION)
    return None if kept is None else Calibration.from_state(kept)


def task_in_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> Task:
    """Returns the task that a checkpoint was trained for, with what was fitted on its answers.

    Args:
        checkpoint: What the checkpoint holds.
        path: Its file, for the error.

    Raises:
        UserError: It does not say so.
    """
    state = checkpoint["peft_lightning"]
    try:
        task = task_named(problem_type_in(state)).from_state(state)
        return task.calibrated(calibration_in(checkpoint))
    except KeyError as error:
        raise UserError(
            f"{path} does not say which classes it was trained on: use best.ckpt or last.ckpt of a run"
        ) from error
