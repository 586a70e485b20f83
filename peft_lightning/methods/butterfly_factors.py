"""BOFT's part in a run: its layers have the number of butterfly factors that was asked for, or the run is refused."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.own_part import OwnPart


class BOFT(OwnPart):
    """Orthogonal butterfly factors (Liu et al. 2023, arXiv:2311.06243).

    PEFT 0.21 builds a CUDA extension for them when the first layer is made. Where that fails, without a compiler or a
    GPU, it goes on with one factor: another method than was asked for, on one machine and not on another.
    """

    def require_means(self, arguments: Mapping[str, Any]) -> None:
        """Builds PEFT's extension, unless it lies in torch's cache, where one factor is not enough.

        Args:
            arguments: The arguments that the user has set; PEFT's default is one factor.

        Raises:
            UserError: It cannot be built.
        """
        wanted = arguments.get("boft_n_butterfly_factor", 1)
        if wanted > 1 and not _extension_is_built():
            raise _needs_extension(wanted)

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
            raise _needs_extension(wanted)


def _extension_is_built() -> bool:
    """Builds the extension as PEFT does for its first layer, which then finds it; tells whether that succeeds."""
    try:
        from peft.tuners.boft.layer import get_fbd_cuda
    except ImportError:  # another release of PEFT, whose layers are counted once they are built
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_fbd_cuda() is not None  # type: ignore[no-untyped-call]


def _needs_extension(factors: int) -> UserError:
    return UserError(
        f"{factors} butterfly factors need PEFT's CUDA extension, which cannot be built here (it takes nvcc"
        " and ninja, and a GPU): use ",
        Setting("model.method.config.boft_n_butterfly_factor", 1),
    )
