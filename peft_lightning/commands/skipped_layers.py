"""Layers that training skips at random, which processes that share a step cannot have."""

from __future__ import annotations

from lightning.pytorch import Trainer

from peft_lightning.errors import UserError

# In OPT, BART, mBART, XGLM, BioGPT and their kin; 0 by default in all of them.
SETTINGS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


def refuse_skipped_layers(trainer: Trainer, config: object) -> None:
    """Refuses to train on several devices what skips whole layers at random (LayerDrop, arXiv:1909.11556).

    Each process would skip layers of its own, and wait for gradients that others do not have.

    Args:
        trainer: The Trainer.
        config: The backbone's configuration.

    Raises:
        UserError: The run has several processes, and layers are skipped.
    """
    if trainer.world_size == 1:
        return
    for name in SETTINGS:
        if share := getattr(config, name, None):
            raise UserError(
                f"{name} {share:g} of the model's configuration skips other layers in each of {trainer.world_size}"
                f" processes, which would wait for each other: set {name} to 0 in its config.json, or train on one"
                " device"
            )
