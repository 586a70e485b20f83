"""What does not go with sharded weights, refused in one line before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.engine.sharded_layers import FSDP2, refuse_unshardable
from peft_lightning.engine.sharding import is_sharded
from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.module.classifier import TextClassifier

SHARDED_PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")


def refuse_precision(settings: Mapping[str, Any]) -> None:
    """Refuses a precision that is not computed with sharded weights, for some of which Lightning makes no Trainer.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: The Trainer would shard weights, and compute in such a precision.
    """
    # Lightning's shorter names, such as 16 and bf16, are for what is mixed.
    precision = str(settings["precision"] or 32)
    if is_sharded(settings["strategy"]) and precision not in (*SHARDED_PRECISIONS, "32", "bf16"):
        raise _refusal(
            f"trainer.precision {precision} is not computed: use ", Setting("trainer.precision", "bf16-mixed")
        )


def refuse_settings(trainer: Trainer, model: TextClassifier, word: str) -> None:
    """Refuses settings of a model that cannot be sharded, before it is loaded.

    Args:
        trainer: The Trainer.
        model: The module, not built yet.
        word: The command, such as ``fit``: what only training needs is refused there alone.

    Raises:
        UserError: The Trainer shards weights, and a setting does not go with that.
    """
    if not is_sharded(trainer.strategy):
        return
    if model.quantization is not None:
        raise _refusal(
            f"weights in {model.quantization} are packed, and cannot be spread: leave ",
            Setting("model.quantization"),
            " out, or use ",
            Setting("trainer.strategy", "ddp"),
        )
    if model.method.packs_backbone:
        raise _refusal(
            f"{model.method.name} packs the backbone's weights, which cannot be spread: choose another method than"
            f" {model.method.name} with ",
            Setting("model.backbone_dtype", "bfloat16"),
            ", or use ",
            Setting("trainer.strategy", "ddp"),
        )
    trains = word == "fit"
    if trains and model.optimizer != "adamw":
        raise _refusal(
            f"{model.optimizer} packs its state and rounds by whole weights: use ", Setting("model.optimizer", "adamw")
        )
    if trains and model.method.batches_to_start_from and not trainer.ckpt_path:
        raise _refusal(
            f"{model.method.name} starts from data, for which one device would hold the whole model: use ",
            Setting("trainer.strategy", "ddp"),
        )
    if trains and model.method.needs_whole_weights:
        raise _refusal(
            f"{model.method.name} changes weights outside their layers: use ", Setting("trainer.strategy", "ddp")
        )


def refuse_model(trainer: Trainer, model: TextClassifier, data: TextDataModule) -> None:
    """Refuses weights that cannot be sharded, and data that give processes different numbers of forward passes.

    Args:
        trainer: The Trainer.
        model: The module, built.
        data: The data module.

    Raises:
        UserError: The Trainer shards weights, and these cannot be, or not with these data.
    """
    if not is_sharded(trainer.strategy):
        return
    assert model.model is not None
    refuse_unshardable(model.model)
    alone: Mapping[str, Any] = {"truncation": data.truncation == "windows", "eval_batch_size": data.eval_batch_size < 2}
    for name in (name for name, is_refused in alone.items() if is_refused):
        raise _refusal(
            f"data.{name} {getattr(data, name)} gives processes different numbers of passes, and they would wait for"
            " each other: use ",
            Setting("data.truncation", "head") if name == "truncation" else Setting("data.eval_batch_size", 2),
        )


def _refusal(*parts: Part) -> UserError:
    return UserError("with ", Setting("trainer.strategy", FSDP2), " ", *parts)
