"""Long texts in overlapping windows, all of which the model reads: their logits are averaged for the text's answer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from peft_lightning.data.examples import Example, PadToLongest
from peft_lightning.errors import Setting, UserError

WINDOWS = "windows"
"""In a batch with a text of several windows: the number of windows of each text, int64, shape (B,)."""
ROWS_AT_ONCE = "rows_at_once"
"""In such a batch: the most windows that the model is to read at once; a text has any number of them."""
TOKENS = "tokens"
"""In such a batch: the number of tokens of each whole text, int64, shape (B,)."""
# The share of a window that it has in common with the one before, where no number of tokens is set.
_OVERLAP = 4


@dataclass(frozen=True)
class TextWindows:
    """Cuts long texts as fast tokenizers do with ``return_overflowing_tokens``: the last window may be shorter.

    Args:
        max_length: Number of tokens in a window, special tokens included.
        overlap: Number of tokens that a window shares with the one before it, the ``stride`` of tokenizers.
        leading: Ids of the special tokens before a text.
        trailing: Ids of those after it.
    """

    max_length: int
    overlap: int
    leading: tuple[int, ...]
    trailing: tuple[int, ...]

    @classmethod
    def of(
        cls, max_length: int, overlap: int | None, leading: tuple[int, ...], trailing: tuple[int, ...]
    ) -> "TextWindows":
        """Makes windows; of no stated overlap a quarter of their own tokens.

        Raises:
            UserError: If windows overlap so far that the next one would begin where the last one does.
        """
        room = max_length - len(leading) - len(trailing)
        if overlap is None:
            overlap = room // _OVERLAP
        if overlap >= room:
            raise UserError(
                f"window_stride {overlap}: a window of {max_length} tokens has {room} of its text, and fewer than that"
                " can be those of the one before: lower ",
                Setting("data.window_stride"),
            )
        return cls(max_length, overlap, leading, trailing)

    @property
    def _room(self) -> int:
        return self.max_length - len(self.leading) - len(self.trailing)

    def count(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts the windows of texts.

        Args:
            lengths: Number of tokens of each text, special ones included, shape (n,).
        """
        beyond = np.maximum(lengths - self.max_length, 0)
        counts: NDArray[np.int64] = 1 + -(-beyond // (self._room - self.overlap))
        return counts

    def cut(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Cuts a text into windows, each with the special tokens; a text that fits is its only one.

        Args:
            ids: Its token ids, special ones included, shape (tokens,).
        """
        if len(ids) <= self.max_length:
            return [ids]
        own = ids[len(self.leading) : len(ids) - len(self.trailing)]
        leading, trailing = (torch.tensor(around, dtype=ids.dtype) for around in (self.leading, self.trailing))
        (count,) = self.count(np.array([len(ids)])).tolist()
        starts = [number * (self._room - self.overlap) for number in range(count)]
        return [torch.cat([leading, own[start : start + self._room], trailing]) for start in starts]


def collate_to_answer(
    windows: TextWindows | None, rows_at_once: int, pad_token_id: int, multiple: int, max_length: int
) -> PadToLongest:
    """Returns what makes batches of texts that are answered, not trained on.

    Args:
        windows: Cuts the texts; None for texts that have been cut to one length.
        rows_at_once: The most windows that the model is to read at once.
        pad_token_id: The id of the padding token.
        multiple: The width is rounded up to a multiple of this.
        max_length: Number of tokens that texts are cut to.
    """
    if windows is None:
        return PadToLongest(pad_token_id, multiple, max_length)
    return PadWindows(windows, rows_at_once, pad_token_id, multiple)


class PadWindows(PadToLongest):
    """Makes batches of texts of which some have several windows, each a row; of others as ``PadToLongest`` does.

    Args:
        windows: Cuts the texts.
        rows_at_once: The most windows that the model is to read at once.
        pad_token_id: The id of the padding token.
        multiple: The width is rounded up to a multiple of this.
    """

    def __init__(self, windows: TextWindows, rows_at_once: int, pad_token_id: int, multiple: int = 1) -> None:
        super().__init__(pad_token_id, multiple, windows.max_length)
        self.windows = windows
        self.rows_at_once = rows_at_once

    def __call__(self, examples: list[Example]) -> dict[str, Any]:
        """Makes a batch of examples.

        Args:
            examples: B texts of R windows together, padded to T tokens.

        Returns:
            ``input_ids`` and ``attention_mask``, int64, shape (R, T); ``index``, shape (B,), and ``labels``, shape
            (B, …), of the texts; ``windows`` and ``tokens``, shape (B,), and ``rows_at_once`` if a text has several.
        """
        cut = [self.windows.cut(example["input_ids"]) for example in examples]
        if all(len(of_text) == 1 for of_text in cut):
            return super().__call__(examples)
        rows = [Example(input_ids=ids, label=None, index=0) for of_text in cut for ids in of_text]
        return {
            **super().__call__(rows),
            **self.of_texts(examples),
            WINDOWS: torch.tensor([len(of_text) for of_text in cut]),
            TOKENS: torch.tensor([len(example["input_ids"]) for example in examples]),
            ROWS_AT_ONCE: self.rows_at_once,
        }
