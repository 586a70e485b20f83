"""How a run read its texts and in which precision it computed, so that others are read in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from peft_lightning.recipes import Config


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

    @classmethod
    def of(cls, config: Config) -> TextSettings:
        """Reads the settings from a run's configuration.

        Args:
            config: The content of its ``config.yaml``.
        """
        model, data = config["model"], config["data"]
        return cls(
            model["model_name_or_path"],
            model["revision"],
            data["max_length"],
            data["truncation"],
            data["cache_dir"],
            str(config["trainer"]["precision"]),
            _in_pairs(data),
            data.get("add_eos_token", False),  # a run from before there was a choice has none
            data.get("window_stride"),
        )

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


def _in_pairs(data: Config) -> bool:
    """Tells from the section ``data`` of a run's configuration whether its texts come in pairs."""
    return data.get("text_pair_column") is not None or data["source"] == PAIRS
