"""Truncation: which tokens of a long text are kept, all of them where it is read in windows."""

from typing import Literal, NamedTuple

import numpy as np

Truncation = Literal["head", "tail", "head_tail", "windows"]
# More tokens than any text has.
_ALL = 1 << 40

# The share of the kept tokens, special ones aside, that comes from the beginning of a text. Reviews end in their
# verdict: Sun et al. 2019 ("How to Fine-Tune BERT for Text Classification?") keep 128 tokens of the beginning in 510,
# and find that better on IMDb than the beginning alone.
HEAD_SHARE: dict[Truncation, float] = {"head": 1.0, "tail": 0.0, "head_tail": 0.25}


class Window(NamedTuple):
    """Which of a longer text's tokens are kept, special ones aside.

    Args:
        head: Number of tokens from its beginning.
        tail: Number of tokens from its end.
    """

    head: int
    tail: int


def window(room: int, truncation: Truncation) -> Window:
    """Divides the room for a text between its beginning and its end.

    Args:
        room: Number of tokens to keep, special tokens aside.
        truncation: Which part is kept: the beginning, the end, or a quarter from the beginning and the rest from the
            end; of a text that is read in windows, all.
    """
    if truncation == "windows":
        return Window(_ALL, 0)
    head = round(room * HEAD_SHARE[truncation])
    return Window(head, room - head)


def cut(ids: list[int], max_length: int, truncation: Truncation, leading: int, trailing: int) -> list[int]:
    """Cuts a text's tokens to a length; its special tokens stay where they are.

    Args:
        ids: The token ids of the whole text, the special ones included.
        max_length: Largest number of tokens to keep, special tokens included.
        truncation: Which part is kept: the beginning, the end, or a quarter from the beginning and the rest from the
            end; of a text that is read in windows, all.
        leading: Number of special tokens before the text.
        trailing: Number of special tokens after it.

    Returns:
        At most ``max_length`` token ids, or all.
    """
    if len(ids) <= max_length or truncation == "windows":
        return ids
    head, tail = window(max_length - leading - trailing, truncation)
    return ids[: leading + head] + ids[len(ids) - trailing - tail :]


def surrounding(special_tokens_mask: list[int]) -> tuple[int, int]:
    """Counts the special tokens before and after a text.

    Args:
        special_tokens_mask: 1 for each special token of an ordinary text, 0 for the others.

    Returns:
        The number before the text, and the number after it.
    """
    own = np.flatnonzero(np.asarray(special_tokens_mask) == 0)
    return int(own[0]), len(special_tokens_mask) - 1 - int(own[-1])
