"""The notes of a run on how it differs from its settings: its own, and those of its model, engine and checkpoints."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Trainer

from peft_lightning.callbacks.limits import limit_notes
from peft_lightning.callbacks.run_checkpoints import RunCheckpoints
from peft_lightning.engine.notes import notes_by_rank
from peft_lightning.engine.strategies import engine_of
from peft_lightning.optim.steps import steps_in_all
from peft_lightning.task.gathering import gathered, process_number


class RunNotes:
    """Collects a run's notes, a sentence each."""

    def __init__(self) -> None:
        self._origins: list[str] = []
        self._remarks: list[str] = []
        self._ended_early: list[str] = []
        self._of_engines: list[list[str]] = []

    @property
    def own(self) -> list[str]:
        """Where the run went on from, and what was remarked of it, each once; a checkpoint keeps these."""
        return list(dict.fromkeys([*self._origins, *self._remarks]))

    def remark(self, note: str) -> None:
        """Adds a note on how this process's part of the run differs from its settings."""
        self._remarks.append(note)

    def go_on_from(self, origins: Iterable[str]) -> None:
        """Takes over the own notes that a checkpoint keeps.

        Args:
            origins: The notes, in their order.
        """
        self._origins = list(origins)

    def see_end(self, trainer: Trainer) -> list[str]:
        """Notes that training ended before its last step, if it did, or that there was none.

        Args:
            trainer: The Trainer after its training.

        Returns:
            What has to be said at once: that there was none.
        """
        steps = steps_in_all(trainer)
        if trainer.global_step == 0:
            self._ended_early = ["nothing was trained: the metrics are those of the weights that training starts from"]
            return self._ended_early
        if steps is not None and trainer.global_step < steps:
            self._ended_early = [f"training ended at step {trainer.global_step:,} of {steps:,}"]
        return []

    def see_engines(self, trainer: Trainer) -> None:
        """Learns the notes of all processes' engines; every process calls it, at the same place.

        Args:
            trainer: The Trainer.
        """
        self._of_engines = gathered(list(engine_of(trainer).notes))

    def of_all(self, trainer: Trainer) -> list[str]:
        """Returns the notes of run, model, engine, limits and checkpoints.

        Args:
            trainer: The Trainer with its model.
        """
        model: Any = trainer.lightning_module
        chosen = [
            note
            for callback in trainer.checkpoint_callbacks
            if isinstance(callback, RunCheckpoints)
            for note in callback.notes
        ]
        return [
            *self.own,
            *model.notes,
            *self._notes_of_engines(trainer),
            *limit_notes(trainer),
            *chosen,
            *self._ended_early,
        ]

    def _notes_of_engines(self, trainer: Trainer) -> list[str]:
        """Returns the notes of this process's engine as they are now, and the others' as they last were seen."""
        here, own = process_number(), list(engine_of(trainer).notes)
        others = enumerate(self._of_engines or [own])
        return notes_by_rank([own if number == here else notes for number, notes in others])
