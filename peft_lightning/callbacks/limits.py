"""Words for the record where a limit of the Trainer leaves rows out, which the counts of the data do not show."""

from lightning.pytorch import Trainer

from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.optim.steps import limited_batches


def limit_notes(trainer: Trainer) -> list[str]:
    """Returns a sentence for each limit that leaves a part of the batches out.

    Args:
        trainer: The Trainer, with its data.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, TextDataModule) or not hasattr(data, "test"):
        return []
    limits = (
        ("limit_train_batches", trainer.limit_train_batches, data.train_dataloader, "an epoch trains on"),
        ("limit_val_batches", trainer.limit_val_batches, data.val_dataloader, "validation metrics are of"),
        ("limit_test_batches", trainer.limit_test_batches, data.test_dataloader, "test metrics and predictions are of"),
    )
    notes = []
    for name, limit, loader, what in limits:
        if isinstance(limit, float) and limit == 1:
            continue  # all of them: no need of a loader, which sorts its rows
        batches = len(loader())
        if (used := limited_batches(batches, limit)) < batches:
            notes.append(f"trainer.{name} {limit:g}: {what} {used:,} of {batches:,} batches")
    return notes
