"""What an engine did differently from what was asked."""

from __future__ import annotations

from collections.abc import Sequence


class Notes:
    """Sentences for the run record, each of which is printed when it becomes true."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def add(self, sentence: str) -> None:
        """Adds a sentence and prints it, unless it is there already.

        Args:
            sentence: without a full stop.
        """
        if sentence not in self.sentences:
            self.sentences.append(sentence)
            print(f"note: {sentence}", flush=True)

    def resume(self, earlier: Sequence[str]) -> None:
        """Puts the sentences of a run that is resumed before those of this process.

        Args:
            earlier: its sentences.
        """
        self.sentences = list(dict.fromkeys([*earlier, *self.sentences]))
