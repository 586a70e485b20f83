"""What a Trainer's precision means for the types that a model computes in."""

import torch

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.errors import Setting, UserError


def compute_dtype(precision: str) -> torch.dtype:
    """Returns the type that a Trainer's precision computes in.

    Args:
        precision: Lightning's name, such as `bf16-mixed`.
    """
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32


def require_autocast(backbone_dtype: BackboneDtype, precision: str) -> None:
    """Refuses a precision that an encoder in bf16 below trained weights in 32 bits cannot be computed in.

    Args:
        backbone_dtype: how the encoder is held.
        precision: Lightning's name, such as `bf16-mixed`.

    Raises:
        UserError: it is another precision than `bf16-mixed`, the one that brings the two together.
    """
    if backbone_dtype != "float32" and precision != "bf16-mixed":
        raise UserError(
            Setting("model.backbone_dtype", backbone_dtype),
            " does not go with ",
            Setting("trainer.precision", precision),
            ": use ",
            Setting("trainer.precision", "bf16-mixed"),
        )
