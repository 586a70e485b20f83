"""(IA)³: learned vectors that rescale activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from peft_lightning.backbone.half_width import is_held_in_bfloat16
from peft_lightning.errors import Placeholder, Setting, UserError
from peft_lightning.methods.base import Method
from peft_lightning.methods.injection import inject_adapters
from peft_lightning.methods.targets import kind_in, resolve_targets

if TYPE_CHECKING:
    from peft import IA3Config
    from transformers import PreTrainedModel


class IA3(Method):
    """Trains vectors that rescale keys, values and feed-forward inputs (Liu et al. 2022, arXiv:2205.05638).

    Args:
        target_modules: Suffixes of the names of the layers whose output is rescaled; None is PEFT's choice.
        feedforward_modules: Those of `target_modules` whose input is rescaled instead; None is PEFT's choice.

    Raises:
        UserError: Not all `feedforward_modules` are among `target_modules`, or `target_modules` is empty.
    """

    name = "ia3"

    def __init__(
        self,
        target_modules: Sequence[str] | None = None,
        feedforward_modules: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if target_modules is not None and not target_modules:
            raise UserError("target_modules is empty; name the layers to adapt, or leave it out for PEFT's choice")
        if feedforward_modules:
            stray = [module for module in feedforward_modules if module not in (target_modules or ())]
            if stray:
                raise UserError(f"feedforward_modules {stray[0]!r} is not among target_modules; name it in both")
        self.target_modules = target_modules
        self.feedforward_modules = feedforward_modules

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes the encoder and adds the vectors: before feed-forward layers, behind the other target layers.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The PEFT model.

        Raises:
            UserError: The architecture has no such target layers, or PEFT has no choice for it.
        """
        adapted = inject_adapters(model, self.configuration(model))
        keep_narrow(adapted)
        return adapted

    def configuration(self, model: PreTrainedModel) -> IA3Config:
        """Makes PEFT's configuration for an architecture.

        Args:
            model: What ``load_backbone`` returned.

        Raises:
            UserError: The architecture has no such target layers, or PEFT has no choice for it.
        """
        from peft import IA3Config
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING

        targets, note = resolve_targets(
            model, self.target_modules, None, TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
        )
        self.notes += [note] if note else []
        return IA3Config(target_modules=targets, feedforward_modules=self._feedforward(model, targets))

    def _feedforward(self, model: PreTrainedModel, targets: list[str]) -> list[str]:
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING

        if self.feedforward_modules is not None:
            return list(self.feedforward_modules)
        kind = kind_in(TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING, model)
        known = None if kind is None else TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[kind]
        if known is None:
            raise UserError(
                f"PEFT does not know the feed-forward layers of {model.config.model_type}; use ",
                Setting("model.method.feedforward_modules", Placeholder("[...]")),
                " with those among target_modules ([]: none)",
            )
        return [module for module in targets if module in known]


def keep_narrow(adapted: nn.Module) -> None:
    """Lets the scales of an encoder in bf16 leave its activations in bf16; other encoders stay as they are.

    Args:
        adapted: The PEFT model with its scales; it is changed in place.
    """
    if is_held_in_bfloat16(adapted):
        from peft_lightning.methods.lean_ia3 import narrow_scaling

        narrow_scaling(adapted)
