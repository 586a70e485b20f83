"""Notes on what an engine did differently from what was asked."""

from __future__ import annotations

from collections.abc import Sequence


class Notes:
    """Sentences for the run record; a new one is printed at once."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Adds a sentence and prints it, unless it is there already.

        Args:
            sentence: Without a full stop.
        """
        if sentence not in self.sentences:
            self.sentences.append(sentence)
            print(f"note: {sentence}", flush=True)

    def resume(self, earlier: Sequence[str]) -> None:
        """Puts the sentences of the resumed run before those of this process."""
        self.sentences = list(dict.fromkeys([*earlier, *self.sentences]))


def notes_by_rank(each: Sequence[Sequence[str]]) -> list[str]:
    """Returns the notes of all processes, each once, with the ranks that have it where not all do.

    Args:
        each: The notes of each process.
    """
    ranks: dict[str, list[str]] = {}
    for rank, notes in enumerate(each):
        for note in notes:
            ranks.setdefault(note, []).append(str(rank))
    return [
        note if len(those) == len(each) else f"{'rank' if len(those) == 1 else 'ranks'} {', '.join(those)}: {note}"
        for note, those in ranks.items()
    ]
