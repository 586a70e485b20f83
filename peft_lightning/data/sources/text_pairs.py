"""Pairs of texts that belong together, such as a premise and a hypothesis."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.sources.columns import TextColumn, digest_of

Pair = tuple[str, str]


class TextPairs(Sequence[Pair]):
    """Pairs of texts; each side stays where it was read, in Arrow for instance.

    Args:
        first: The first text of each pair, shape (n,).
        second: The second text of each pair, shape (n,).
    """

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        if len(first) != len(second):
            raise ValueError(f"{len(first)} first texts and {len(second)} second ones")
        self.first = first
        self.second = second

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, position: int) -> Pair: ...
    @overload
    def __getitem__(self, position: slice) -> list[Pair]: ...
    def __getitem__(self, position: int | slice) -> Pair | list[Pair]:
        if isinstance(position, slice):
            return list(zip(self.first[position], self.second[position], strict=True))
        return self.first[position], self.second[position]

    def __iter__(self) -> Iterator[Pair]:
        return zip(self.first, self.second, strict=True)

    def take(self, positions: NDArray[np.int64]) -> "TextPairs":
        """Selects the pairs at some positions.

        Args:
            positions: Positions among these pairs, shape (k,).
        """
        return TextPairs(take_texts(self.first, positions), take_texts(self.second, positions))

    def between(self, start: int, stop: int) -> "TextPairs":
        """Selects the pairs from one position up to another.

        Args:
            start: Position of the first pair.
            stop: Position behind the last one.
        """
        return TextPairs(self.first[start:stop], self.second[start:stop])

    @property
    def digest(self) -> bytes:
        """A hash of both sides, 64 bytes, which no single texts have."""
        return digest_of(self.first) + digest_of(self.second)


Texts = Sequence[str] | TextPairs


def take_texts(texts: Sequence[str], positions: NDArray[np.int64]) -> Sequence[str]:
    """Selects the texts at some positions; those in Arrow are not copied.

    Args:
        texts: The texts.
        positions: Positions among them, shape (k,).
    """
    return texts.take(positions) if isinstance(texts, TextColumn) else [texts[i] for i in positions]


def digest_of_texts(texts: Texts) -> bytes:
    """Hashes texts or pairs of texts.

    Args:
        texts: The texts.
    """
    return texts.digest if isinstance(texts, TextPairs) else digest_of(texts)


def in_one(text: Sequence[str]) -> str:
    """Returns a text as it is, and a pair as one text for the eye.

    Args:
        text: A text, or a pair of texts.
    """
    return text if isinstance(text, str) else " ‖ ".join(text)


def noun_of(texts: Texts) -> str:
    """Returns what each of them is called in messages: a ``text``, or a ``pair`` of texts.

    Args:
        texts: The texts.
    """
    return "pair" if isinstance(texts, TextPairs) else "text"
