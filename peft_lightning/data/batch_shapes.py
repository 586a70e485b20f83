"""The shapes of an epoch's batches, known in advance, so that an engine can prepare for each and for the largest."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from lightning.pytorch import Trainer

from peft_lightning.data.examples import PadToLongest, TokenisedReviews
from peft_lightning.data.loader import ResumableDataLoader

Batch = dict[str, torch.Tensor]


def widest_batch(reviews: TokenisedReviews, batch_size: int, collate: PadToLongest) -> Batch:
    """Makes the batch that takes the most memory: the longest reviews.

    Args:
        reviews: All training reviews.
        batch_size: Reviews in a batch.
        collate: Makes a batch of reviews.
    """
    longest = np.argsort(-np.asarray(reviews.lengths), kind="stable")[:batch_size]
    return collate([reviews[int(row)] for row in longest])


def batches_of_the_epoch(trainer: Trainer, loader: ResumableDataLoader) -> list[list[int]]:
    """Returns the batches that an epoch trains on before a limit of the Trainer ends it; called at the start of a step.

    Args:
        trainer: The Trainer, within an epoch.
        loader: The loader of its training batches.

    Returns:
        The positions of the reviews of each batch. Batches that have been trained on already are included: most of
        their shapes come again in the next epoch.
    """
    batches = loader.positions()
    end = min(trainer.num_training_batches, len(batches))
    if trainer.max_steps >= 0:
        steps = trainer.max_steps - trainer.global_step
        end = min(end, trainer.fit_loop.epoch_loop.batch_idx + steps * trainer.accumulate_grad_batches)
    return batches[: int(end)]


def one_of_each_shape(
    reviews: TokenisedReviews, batches: Iterable[Sequence[int]], collate: PadToLongest
) -> list[Batch]:
    """Makes one batch of every shape that occurs among some batches.

    Args:
        reviews: All training reviews.
        batches: The positions of the reviews of each batch.
        collate: Makes a batch of reviews.

    Returns:
        The batches, the largest first.
    """
    lengths = reviews.lengths
    shapes = {(collate.width(max(lengths[row] for row in rows)), len(rows)): rows for rows in batches}
    largest_first = sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape), reverse=True)
    return [collate([reviews[row] for row in shapes[shape]]) for shape in largest_first]
