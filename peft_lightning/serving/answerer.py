"""A trained model that answers tokenised texts, whether it comes from a run or from a folder that others load too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from peft_lightning.data.examples import Example
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources.text_pairs import Pair, TextPairs, Texts
from peft_lightning.task import Task

# A long text has a batch of its own, in which the model reads so many of its windows at once.
_WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class Tokens:
    """A tokenised text, or a tokenised pair of texts; its length is its number of tokens."""

    example: Example

    def __len__(self) -> int:
        return len(self.example["input_ids"])


@dataclass(frozen=True)
class Answerer:
    """Answers texts, or pairs of texts.

    Args:
        task: What the answers are.
        tokeniser: Makes tokens of texts.
        logits: Runs the network on a batch on ``device``.
        device: Where it is.
        max_length: Number of tokens that a text is cut to.
        description: What ``/health`` tells of it.
        in_pairs: Whether texts come in pairs; None where nothing says so.
    """

    task: Task
    tokeniser: ReviewTokeniser
    logits: Callable[[dict[str, Tensor]], Tensor]
    device: torch.device
    max_length: int
    description: Mapping[str, Any]
    in_pairs: bool | None = False

    def tokenise(self, texts: Sequence[str] | Sequence[Pair]) -> list[Tokens]:
        """Returns the tokens of each text, or of each pair.

        Args:
            texts: The texts, at least one; all of them single, or all of them pairs.

        Raises:
            UserError: A text makes no token.
        """
        return [Tokens(example) for example in self.tokeniser.examples(_as_texts(texts))]

    def answer(self, texts: Sequence[Tokens]) -> list[dict[str, Any]]:
        """Answers texts in one batch, as ``predict`` writes them.

        Args:
            texts: The tokens of each text.
        """
        batch = self.tokeniser.collate(1, _WINDOWS_AT_ONCE)([text.example for text in texts])
        del batch["index"]
        with torch.inference_mode():
            on_device = move_data_to_device(batch, self.device)
            answers = self.task.answer(self.logits(on_device).float())
        return [self.task.line(answer) for answer in answers.tolist()]


def _as_texts(texts: Sequence[str] | Sequence[Pair]) -> Texts:
    """Returns texts as they are, and pairs side by side."""
    if isinstance(texts[0], str):
        return [str(text) for text in texts]
    first, second = zip(*texts, strict=True)
    return TextPairs(first, second)


def fastest_device() -> torch.device:
    """Returns the GPU, or the CPU where torch finds none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
