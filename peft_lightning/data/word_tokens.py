"""The tokens of words: each word is tokenised once, and a text's tokens are put together from those of its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from peft_lightning.data.truncation import Window
from peft_lightning.data.words_apart import PLAIN, SPACE_BETWEEN_WORDS

# The words that are kept take some 40 MB at most; then they are forgotten, and those that come again are learned anew.
_MOST_PIECES = 1 << 17
_MOST_CHARACTERS = 1 << 22
_SPOILT = -1


@dataclass(frozen=True)
class TokenBatch:
    """The tokens of n texts.

    Args:
        input_ids: The ids of all texts, concatenated, int32, shape (tokens,).
        lengths: Number of tokens of each text, int64, shape (n,).
        truncated: Which texts were cut, bool, shape (n,).
        seconds: Of pairs for a model with token types, where the tokens of the second type begin in each, int64, shape
            (n,); None for others.
    """

    input_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    seconds: NDArray[np.int64] | None = None


class _Numbers(dict[str, int]):
    """Numbers of pieces of text; one that has none gets the next, and waits to be tokenised."""

    def __init__(self, tokens: "WordTokens") -> None:
        super().__init__()
        self._tokens = tokens

    def __missing__(self, piece: str) -> int:
        number = self[piece] = self._tokens.learn(piece)
        return number


class _NumbersWithin(_Numbers):
    """Numbers of words that follow a space, which is left out; -1 for one that a space would not set apart."""

    def __missing__(self, word: str) -> int:
        plain = word != "" and word[0] in PLAIN and word[-1] in PLAIN
        number = self[word] = self._tokens.learn(f" {word}") if plain else _SPOILT
        return number


class WordTokens:
    """Puts the tokens of texts together from those of their words.

    Args:
        encode: Returns the token ids of each of some texts, without special tokens; of a tokenizer that tokenises
            words apart.
        window: Which tokens of a text are kept.
        leading: The special tokens before a text.
        trailing: Those after it.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], Sequence[Sequence[int]]],
        window: Window,
        leading: Sequence[int],
        trailing: Sequence[int],
    ) -> None:
        self._encode = encode
        self._window = window
        self._leading, self._trailing = (np.asarray(ids, dtype=np.int32) for ids in (leading, trailing))
        self._forget()

    def _forget(self) -> None:
        self._pieces = _Numbers(self)
        self._within = _NumbersWithin(self)
        self._waiting: list[str] = []
        self._known = self._characters = 0
        self._ids = np.empty(0, np.int32)
        self._starts, self._lengths = np.empty(0, np.int64), np.empty(0, np.int64)

    def learn(self, piece: str) -> int:
        """Gives a piece the next number; it is tokenised with the rest of its batch.

        Args:
            piece: A piece of text, the space before it included.
        """
        self._waiting.append(piece)
        self._known += 1
        self._characters += len(piece)
        return self._known - 1

    def tokenise(self, texts: Sequence[str]) -> TokenBatch:
        """Tokenises texts; special tokens are included.

        Args:
            texts: The n texts.
        """
        if self._known > _MOST_PIECES or self._characters > _MOST_CHARACTERS:
            self._forget()
        rows, gaps = [list(column) for column in zip(*map(self._numbers, texts), strict=True)] if texts else ([], [])
        self._tokenise_waiting()
        # A word of control characters alone has no token: so many words as the window has tokens need not fill it.
        for row in np.flatnonzero(gaps).tolist():
            if not self._lengths[rows[row]].all():
                rows[row], gaps[row] = self._numbers_of_pieces(texts[row], leave_out=False)
        self._tokenise_waiting()
        return self._put_together(rows, np.asarray(gaps, dtype=np.bool_))

    def _numbers(self, text: str) -> tuple[list[int], bool]:
        """Numbers the words of a text, and tells whether words in its middle are left out."""
        head, tail = self._window
        words = text.split(" ", -1 if tail else head + 2)
        gap = len(words) > head + tail + 2
        if gap:
            # What is left out must be set apart from what is kept.
            apart = (not head or words[head + 1][:1] in PLAIN) and (not tail or words[-tail - 2][-1:] in PLAIN)
            if not apart:
                return self._numbers_of_pieces(text)
            words = _ends(words, self._window)
        if gap and not head:
            numbers = list(map(self._within.__getitem__, words))
        elif len(words) > 1 and words[0][-1:] not in PLAIN:
            return self._numbers_of_pieces(text)
        else:
            numbers = [self._pieces[words[0]], *map(self._within.__getitem__, words[1:])]
        return self._numbers_of_pieces(text) if _SPOILT in numbers else (numbers, gap)

    def _numbers_of_pieces(self, text: str, leave_out: bool = True) -> tuple[list[int], bool]:
        """Does as ``_numbers`` does for a text of which some words stay together."""
        head, tail = self._window
        pieces = SPACE_BETWEEN_WORDS.split(text, 0 if tail or not leave_out else head + 2)
        gap = leave_out and len(pieces) > head + tail + 2
        begins = not gap or head > 0
        if gap:
            pieces = _ends(pieces, self._window)
        numbers = [self._pieces[pieces[0]] if begins else self._number_within(pieces[0])]
        return numbers + [self._number_within(piece) for piece in pieces[1:]], gap

    def _number_within(self, piece: str) -> int:
        number = _SPOILT if " " in piece else self._within[piece]
        return self._pieces[f" {piece}"] if number == _SPOILT else number

    def _tokenise_waiting(self) -> None:
        if not self._waiting:
            return
        encoded = self._encode(self._waiting)
        self._waiting = []
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        ids = np.fromiter(chain.from_iterable(encoded), np.int32, int(lengths.sum()))
        self._starts = np.concatenate([self._starts, len(self._ids) + np.cumsum(lengths) - lengths])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._ids = np.concatenate([self._ids, ids])

    def _put_together(self, rows: list[list[int]], gaps: NDArray[np.bool_]) -> TokenBatch:
        head, tail = self._window
        pieces = np.fromiter(map(len, rows), np.int64, len(rows))
        numbers = np.fromiter(chain.from_iterable(rows), np.int64, int(pieces.sum()))
        ids = self._ids[_ranges(self._starts[numbers], self._lengths[numbers])]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._lengths[numbers])])[np.cumsum(pieces)]
        whole = np.diff(ends, prepend=0)

        kept = np.minimum(whole, head + tail)
        around = len(self._leading) + len(self._trailing)
        lengths = kept + around
        starts = np.cumsum(lengths) - lengths
        input_ids = np.empty(int(lengths.sum()), np.int32)
        within = _ranges(np.zeros_like(kept), kept)
        # What is cut lies between the first ``head`` tokens of a text and its last ``tail``.
        source = np.repeat(ends - whole, kept) + within + np.where(within < head, 0, np.repeat(whole - kept, kept))
        input_ids[np.repeat(starts + len(self._leading), kept) + within] = ids[source]
        for offset, special in enumerate(self._leading):
            input_ids[starts + offset] = special
        for offset, special in enumerate(self._trailing):
            input_ids[starts + len(self._leading) + kept + offset] = special
        return TokenBatch(input_ids, lengths, gaps | (whole > kept))


def _ends(words: list[str], window: Window) -> list[str]:
    """Keeps a word more at each end than the window has tokens there; none at an end that it leaves out."""
    head, tail = window
    return (words[: head + 1] if head else []) + (words[-tail - 1 :] if tail else [])


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the whole numbers from each start on, so many as its length says, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    ranges: NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return ranges
