"""The embedded corpus for other tasks: several labels, a number, and pairs of texts, made of the same clauses.

A split's texts are composed of the clauses of that split alone, so training and test share none, as the reviews do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar

from peft_lightning.data.embedded.clauses import read_clauses
from peft_lightning.data.embedded.composed_texts import ComposedTexts
from peft_lightning.data.embedded.composer import SEED, Dice, Draft

PASSAGES = ("blame", "praise", "plot", "hopes")
PREFERENCES = ("first", "second", "neither")
ROWS: dict[Literal["train", "test"], int] = {"train": 8_000, "test": 4_000}

T = TypeVar("T")
_PRAISE, _BLAME = 1, 0


class _Variant(ABC):
    """The texts and labels of one split, each planned and composed from its own seed.

    Args:
        split: ``train`` or ``test``; they share no clause.
    """

    name: str

    def __init__(self, split: Literal["train", "test"]) -> None:
        self._seed = f"{SEED}, {self.name}: {split}"
        self._clauses = read_clauses(split)
        self._plans = [self.plan(Dice(f"{self._seed}, plan {row}")) for row in range(ROWS[split])]
        self.labels = [self.label(plan) for plan in self._plans]

    def __len__(self) -> int:
        return len(self._plans)

    @abstractmethod
    def plan(self, dice: Dice) -> Any:
        """Decides what a text says."""

    @abstractmethod
    def label(self, plan: Any) -> Any:
        """Returns the label of a text that says that."""

    def _draft(self, row: int, part: str = "") -> Draft:
        return Draft(Dice(f"{self._seed}, {row}{part}"), self._clauses, _PRAISE)


class _Texts(_Variant, ComposedTexts):
    @abstractmethod
    def compose(self, draft: Draft, plan: Any) -> None:
        """Adds the sentences of a text."""

    def composed(self, row: int) -> str:
        """Composes a text from its plan."""
        draft = self._draft(row)
        self.compose(draft, self._plans[row])
        return " ".join(draft.sentences)


class Passages(_Texts):
    """Short reviews that praise, blame, tell of the plot and of hopes; the labels are those they do, perhaps none."""

    name = "multi_label"

    def plan(self, dice: Dice) -> list[str]:
        """Decides what the review does, and in which order."""
        return _shuffled([passage for passage in PASSAGES if dice.chance(0.45)], dice)

    def label(self, plan: list[str]) -> list[int]:
        """Returns the numbers of what the review does."""
        return sorted(map(PASSAGES.index, plan))

    def compose(self, draft: Draft, plan: list[str]) -> None:
        """Adds an opening, and a sentence or two for each thing that the review does."""
        draft.add(draft.take("opening"))
        for passage in plan:
            for _ in range(draft.dice.between(1, 2)):
                if passage == "hopes":
                    draft.add(draft.take("hopes.high", "hopes.low"))
                elif passage == "plot":
                    draft.add(draft.take("plot"))
                else:
                    draft.add(draft.frame("single", same=draft.opinion(PASSAGES.index(passage))))


class Stars(_Texts):
    """Reviews of four to six remarks; the label is a number of stars from 1 to 5, by the share of praise."""

    name = "regression"

    def plan(self, dice: Dice) -> list[int]:
        """Decides which remarks are praise, with all shares equally likely."""
        count = dice.between(4, 6)
        praise = dice.between(0, count)
        return _shuffled([_PRAISE] * praise + [_BLAME] * (count - praise), dice)

    def label(self, plan: list[int]) -> float:
        """Returns the stars, with two decimals."""
        return round(1 + 4 * sum(plan) / len(plan), 2)

    def compose(self, draft: Draft, plan: list[int]) -> None:
        """Adds an opening and the remarks."""
        draft.add(draft.take("opening"))
        for opinion in plan:
            draft.add(draft.frame("single", same=draft.opinion(opinion)))


class Preferences(_Variant):
    """Pairs of reviews of two remarks, all praise or all blame; the label is the one that likes its film better."""

    name = "pairs"

    def plan(self, dice: Dice) -> tuple[int, int]:
        """Decides the opinion of both reviews; a third of the pairs agree."""
        preferred = dice.below(3)
        if preferred == PREFERENCES.index("neither"):
            both = dice.below(2)
            return both, both
        return (_PRAISE, _BLAME) if preferred == 0 else (_BLAME, _PRAISE)

    def label(self, plan: tuple[int, int]) -> int:
        """Returns the place of the review that likes its film better, 2 for neither."""
        return 2 if plan[0] == plan[1] else plan.index(_PRAISE)

    @property
    def first(self) -> _Side:
        """The first review of each pair."""
        return _Side(self, 0)

    @property
    def second(self) -> _Side:
        """The second review of each pair."""
        return _Side(self, 1)

    def review(self, row: int, side: int) -> str:
        """Composes one review of a pair.

        Args:
            row: Number of the pair.
            side: 0 for the first review, 1 for the second.
        """
        opinion = self._plans[row][side]
        draft = self._draft(row, f", side {side}")
        for _ in range(2):
            draft.add(draft.frame("single", same=draft.opinion(opinion)))
        return " ".join(draft.sentences)


class _Side(ComposedTexts):
    def __init__(self, pairs: Preferences, side: int) -> None:
        self._pairs = pairs
        self._side = side

    def __len__(self) -> int:
        return len(self._pairs)

    def composed(self, row: int) -> str:
        return self._pairs.review(row, self._side)


def _shuffled(values: list[T], dice: Dice) -> list[T]:
    left, drawn = list(values), []
    while left:
        drawn.append(left.pop(dice.below(len(left))))
    return drawn
