"""The types that a model computes in under a Trainer's precision, and which of them a bf16 encoder allows."""

import torch

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.errors import Setting, UserError


def compute_dtype(precision: str) -> torch.dtype:
    """Returns the type that a Trainer's precision computes in.

    Args:
        precision: Lightning's name for it, such as ``bf16-mixed``.
    """
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32


def require_autocast(backbone_dtype: BackboneDtype, precision: str) -> None:
    """Refuses a precision that does not go with a bf16 encoder below trained weights in 32 bits.

    Args:
        backbone_dtype: The form of the encoder's weights.
        precision: Lightning's name for it, such as ``bf16-mixed``.

    Raises:
        UserError: The encoder is in bf16 and the precision is not ``bf16-mixed``, the only one that mixes both types.
    """
    if backbone_dtype != "float32" and precision != "bf16-mixed":
        raise UserError(
            Setting("model.backbone_dtype", backbone_dtype),
            " does not go with ",
            Setting("trainer.precision", precision),
            ": use ",
            Setting("trainer.precision", "bf16-mixed"),
        )
