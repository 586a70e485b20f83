"""Turns a full GPU into one line that says how to use less of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn

from peft_lightning.engine.strategies import engine_of
from peft_lightning.errors import UserError


@contextmanager
def wording_out_of_memory(trainer: Trainer) -> Iterator[None]:
    """Words where the GPU ran out of memory, and how to use less.

    Args:
        trainer: The Trainer, for its step and what it was doing.

    Raises:
        UserError: If the GPU has run out of memory inside.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(_words(trainer)) from error


def _words(trainer: Trainer) -> str:
    engine = engine_of(trainer)
    if trainer.state.fn == TrainerFn.TESTING or engine.is_evaluating:
        return "the GPU ran out of memory while it evaluated: lower --data.eval_batch_size"
    least = ", with one example at a time" if engine.micro_batch_size == 1 else ""
    return (
        f"the GPU ran out of memory at step {trainer.global_step}{least}:"
        " add --config configs/lean.yaml, or lower --data.max_length"
    )
