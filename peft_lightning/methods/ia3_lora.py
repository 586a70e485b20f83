"""IA³ and LoRA trained together: learned scales around low-rank updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.ia3 import IA3, keep_narrow
from peft_lightning.methods.injection import widen_trained
from peft_lightning.methods.lora import LoRA
from peft_lightning.methods.parameters import trainable_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class IA3LoRA(LoRA):
    """Trains IA³'s scales of keys, values and feed-forward inputs together with LoRA's updates.

    A layer that has both computes s ⊙ (W x + B A x). IA³: Liu et al. 2022, arXiv:2205.05638. LoRA: Hu et al. 2021,
    arXiv:2106.09685. PEFT's own mixture of adapters does not take IA³.

    Args:
        r: Rank of the update.
        lora_alpha: The update is multiplied by `lora_alpha / r`.
        target_modules: Suffixes of the names of the layers that get an update, or `all-linear`.
        scaled_modules: Suffixes of the names of the layers that get scales; None is PEFT's choice for IA³.
        feedforward_modules: Those of `scaled_modules` whose input is scaled instead; None is PEFT's choice.
        lora: LoRA's other arguments.

    Raises:
        UserError: A value is out of its range.
    """

    name = "ia3_lora"

    def __init__(
        self,
        r: int = 16,
        lora_alpha: int = 32,
        target_modules: Sequence[str] | Literal["all-linear"] = ("query", "value"),
        scaled_modules: Sequence[str] | None = None,
        feedforward_modules: Sequence[str] | None = None,
        **lora: Any,
    ) -> None:
        super().__init__(r=r, lora_alpha=lora_alpha, target_modules=target_modules, **lora)
        self.scaled_modules = scaled_modules
        self.feedforward_modules = feedforward_modules
        self._scales = IA3(scaled_modules, feedforward_modules)

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes the encoder, and adds the low-rank updates and the scales.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The PEFT model.

        Raises:
            UserError: The architecture has no such target layers, or PEFT has no choice for it.
        """
        from peft import inject_adapter_in_model

        configuration = self._scales.configuration(model)
        self.notes += self._scales.notes
        adapted = super().adapt(model)
        trained = set(trainable_names(adapted))
        inject_adapter_in_model(configuration, model, adapter_name="default")
        # PEFT freezes all that does not belong to the adapter it adds.
        for name, parameter in adapted.named_parameters():
            # A layer that now has scales holds its update one level further down.
            parameter.requires_grad_(".ia3_l." in name or name.replace(".base_layer.lora_", ".lora_") in trained)
        widen_trained(adapted)
        keep_narrow(adapted)
        return adapted

    def save_adapter(self, model: nn.Module, folder: Path, untrained: Callable[[], nn.Module]) -> None:
        """Refuses: PEFT would save the updates alone, and give other answers without a word."""
        raise UserError(
            f"{self.name}: PEFT has no adapter that holds IA3's scales and LoRA's updates together: use ",
            Setting("format", "merged"),
        )
