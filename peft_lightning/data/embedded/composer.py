"""Composes reviews: an opening, the plot, praise and blame, perhaps a turn, and the verdict.

The label is the opinion of the review as a whole. Reviews of both classes contain praise and blame: plain, negated,
ironic, or reported from others. What counts is who says it, how it is framed, and how the review ends.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from peft_lightning.data.embedded.clauses import Clauses, read_clauses

MIN_WORDS, MAX_WORDS = 40, 300

SEED = "peft-lightning embedded corpus, edition 1"
# Drawn as often as listed: most reviews consist of plain words of judgement.
_ASPECTS = (
    *("plain",) * 12,
    *("acting", "acting", "direction", "story", "look", "music", "effect", "negated", "denied"),
)
# The share of reviews that begin with the opposite opinion, at length.
_AGAINST_EXPECTATION = 0.18

_WORDS = read_clauses("words")
_SLOT = re.compile(r"(?:\b(a) )?\{(\w+)\}")


class Dice:
    """Draws from ``random.Random.random`` alone: the one method whose sequence Python promises to keep."""

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed).random

    def chance(self, share: float) -> bool:
        """Returns True with a probability."""
        return self._draw() < share

    def below(self, n: int) -> int:
        """Draws a whole number from 0 to n - 1."""
        return int(self._draw() * n)

    def between(self, low: int, high: int) -> int:
        """Draws a whole number between two, both included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[str]) -> str:
        """Draws one of some strings."""
        return options[self.below(len(options))]


class Draft:
    """A review in the making: its names, its sentences, and the clauses it has used."""

    def __init__(self, dice: Dice, clauses: Clauses, label: int) -> None:
        self.dice = dice
        self._clauses = clauses
        self._used: set[str] = set()
        self.label = label
        self.sentences: list[str] = []
        self.words = 0
        self._names = self._choose_names()

    def _choose_names(self) -> dict[str, str]:
        pick, section = self.dice.pick, self._clauses
        titles: list[str] = []
        while len(titles) < 2:
            title = f"{pick(section['title.first'])} {pick(section['title.last'])}"
            if title not in titles:
                titles.append(title)
        people: list[str] = []
        kinds = ("first.male", "first.female", "first.female" if self.dice.chance(0.5) else "first.male")
        surnames: set[str] = set()
        for kind in kinds:
            surname = pick(section["last"])
            while surname in surnames:
                surname = pick(section["last"])
            surnames.add(surname)
            people.append(f"{pick(section[kind])} {surname}")
        return {
            "film": titles[0],
            "other": titles[1],
            "actor": people[0],
            "actress": people[1],
            "director": people[2],
            "place": pick(section["place"]),
            "genre": pick(section["genre"]),
            "role": pick(section["role"]),
            "minutes": str(self.dice.between(78, 168)),
        }

    def take(self, *sections: str) -> str:
        """Draws a clause of these sections, one not used yet if possible, and fills its slots."""
        section = self._clauses[self.dice.pick(sections)]
        clause = self.dice.pick(section)
        for _ in range(8):
            if clause not in self._used:
                break
            clause = self.dice.pick(section)
        self._used.add(clause)
        return _SLOT.sub(self._word, clause) if "{" in clause else clause

    def _word(self, slot: re.Match[str]) -> str:
        """Fills a slot: names are the same throughout a review, a word of judgement is drawn for each slot."""
        article, name = slot.groups()
        word = self._names[name] if name in self._names else self.dice.pick(_WORDS[name])
        if article:
            return f"an {word}" if word[0] in "aeiou" else f"a {word}"
        return word

    def opinion(self, label: int) -> str:
        """Draws a clause about some aspect: praise (1) or blame (0)."""
        kind = ("blame", "praise")[label]
        return self.take(f"{kind}.{self.dice.pick(_ASPECTS)}")

    def add(self, sentence: str) -> None:
        """Appends a sentence, its first letter a capital."""
        self.sentences.append(sentence[0].upper() + sentence[1:])
        self.words += sentence.count(" ") + 1

    def frame(self, name: str, **parts: str) -> str:
        """Draws a frame and puts its parts in."""
        frame = self.dice.pick(self._clauses[f"frame.{name}"])
        for key, part in parts.items():
            frame = frame.replace("{" + key + "}", part)
        return frame


class Composer:
    """Composes the reviews of one split, each from its own seed, so that any can be composed alone.

    Args:
        split: The split whose clauses are used; also part of the seed.
    """

    def __init__(self, split: str) -> None:
        self._seed = f"{SEED}: {split}"
        self._clauses = read_clauses(split)

    def labels(self, n: int) -> list[int]:
        """Returns the labels of the first reviews: pairs of both classes, each in random order.

        Args:
            n: Number of reviews.

        Returns:
            The labels: 0 negative, 1 positive.
        """
        dice = Dice(f"{self._seed}, order")
        labels: list[int] = []
        while len(labels) < n:
            first = dice.below(2)
            labels += (first, 1 - first)
        return labels[:n]

    def review(self, row: int, label: int) -> str:
        """Composes one review.

        Args:
            row: Its number in the split.
            label: 0 negative, 1 positive.
        """
        dice = Dice(f"{self._seed}, {row}")
        while True:
            draft = Draft(dice, self._clauses, label)
            self._compose(draft)
            text = self._paragraphs(draft)
            if MIN_WORDS <= len(text.split()) <= MAX_WORDS:
                return text

    def _compose(self, draft: Draft) -> None:
        dice, label = draft.dice, draft.label
        # Short reviews are more frequent than long ones, as on any site.
        target = 55 + int(180 * dice._draw() ** 1.5)
        draft.add(draft.take("opening"))
        for _ in range(dice.between(0, 2) + target // 90):
            draft.add(draft.take("plot", "plot", "neutral"))
        if dice.chance(_AGAINST_EXPECTATION):
            self._against_expectation(draft, target)
        else:
            self._plainly(draft, target)
        verdict = ("verdict.negative", "verdict.positive")[label]
        if dice.chance(0.96):
            draft.add(draft.frame("verdict", verdict=draft.take(verdict, f"{verdict}.plain")))
        else:
            draft.add(draft.take(("irony.blame", "irony.praise")[label]))

    def _plainly(self, draft: Draft, target: int) -> None:
        """Adds remarks of one opinion, with a few concessions."""
        start = len(draft.sentences)
        while draft.words < target - 15 or len(draft.sentences) < start + 3:
            self._remark(draft, concession=0.18, digression=0.2)
        if draft.dice.chance(0.12):
            self._flourish(draft)

    def _against_expectation(self, draft: Draft, target: int) -> None:
        """Adds the opposite opinion first, at length, then the turn and the review's own opinion."""
        dice, label = draft.dice, draft.label
        start = draft.words
        draft.add(draft.take(*(("hopes.high", "reported.high"), ("hopes.low", "reported.low"))[label]))
        share = 0.3 + 0.35 * dice._draw()
        while draft.words - start < share * (target - start - 15):
            if dice.chance(0.25):
                draft.add(draft.take(*(("hopes.high", "reported.high"), ("hopes.low", "reported.low"))[label]))
            else:
                draft.add(draft.frame("single", same=draft.opinion(1 - label)))
        draft.add(draft.take(("turn.negative", "turn.positive")[label]))
        start = len(draft.sentences)
        while draft.words < target - 15 or len(draft.sentences) < start + 2:
            self._remark(draft, concession=0.2, digression=0.15)

    def _remark(self, draft: Draft, *, concession: float, digression: float) -> None:
        dice, label = draft.dice, draft.label
        if dice.chance(digression):
            draft.add(draft.take("plot", "neutral"))
        elif dice.chance(0.06):
            self._flourish(draft)
        elif dice.chance(concession):
            draft.add(draft.frame("concede", opposite=draft.opinion(1 - label), same=draft.opinion(label)))
        elif dice.chance(0.3):
            draft.add(draft.frame("double", same=draft.opinion(label), same2=draft.opinion(label)))
        else:
            draft.add(draft.frame("single", same=draft.opinion(label)))

    def _flourish(self, draft: Draft) -> None:
        sections = (("irony.blame", "compare.unfavourable"), ("irony.praise", "compare.favourable"))[draft.label]
        draft.add(draft.take(*sections))

    def _paragraphs(self, draft: Draft) -> str:
        """Breaks long reviews into paragraphs."""
        sentences = draft.sentences
        if len(sentences) < 7 or draft.dice.chance(0.4):
            return " ".join(sentences)
        cut = draft.dice.between(2, len(sentences) - 2)
        return " ".join(sentences[:cut]) + "\n\n" + " ".join(sentences[cut:])
