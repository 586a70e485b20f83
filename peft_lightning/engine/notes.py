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
