"""BOFT's part in a run: its layers have the number of butterfly factors that was asked for, or the run is refused."""

from __future__ import annotations

from typing import Any

from torch import nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.own_part import OwnPart


class BOFT(OwnPart):
    """Orthogonal butterfly factors (Liu et al. 2023, arXiv:2311.06243).

    PEFT 0.21 builds a CUDA extension for them when the first layer is made. Where that fails, without a compiler or a
    GPU, it goes on with one factor: another method than was asked for, on one machine and not on another.
    """

    def settle(self, model: nn.Module) -> None:
        """Checks how many factors the layers have.

        Args:
            model: The PEFT model, just built.

        Raises:
            UserError: They have fewer than was asked for.
        """
        configuration: Any = model.active_peft_config
        wanted = configuration.boft_n_butterfly_factor
        layers = (getattr(module, "boft_R", None) for module in model.modules())
        built = {len(factors) for layer in layers if layer is not None for factors in layer.values()}
        if built - {wanted}:
            raise UserError(
                f"{wanted} butterfly factors need PEFT's CUDA extension, which cannot be built here (it takes nvcc"
                " and ninja, and a GPU): use ",
                Setting("model.method.config.boft_n_butterfly_factor", 1),
            )
