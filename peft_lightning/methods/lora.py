"""LoRA: low-rank updates beside frozen weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.base import Method
from peft_lightning.methods.injection import inject_adapters
from peft_lightning.methods.targets import resolve_targets

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from peft_lightning.backbone.loading import Backbone


class LoRA(Method):
    """Trains a low-rank update B·A beside each target layer's weight (Hu et al. 2021, arXiv:2106.09685).

    Args:
        r: Rank of the update.
        lora_alpha: The update is multiplied by `lora_alpha / r`.
        lora_dropout: Probability of zeroing an input of the update, in [0, 1).
        target_modules: Suffixes of the names of the layers to adapt, or `all-linear` for every linear layer
            of the encoder; an architecture that lacks the default ones gets PEFT's own.
        bias: Which biases are trained too.
        use_rslora: Multiply by `lora_alpha / sqrt(r)` instead (Kalajdzievski 2023, arXiv:2312.03732).
        use_dora: Train each weight's magnitude apart from its direction (Liu et al. 2024, arXiv:2402.09353).
        loraplus_lr_ratio: The learning rate of B, and of what is a vector, such as biases, is this many times that of
            A: LoRA+ (Hayou et al. 2024, arXiv:2402.12354), in the groups of PEFT's `create_loraplus_optimizer`.

    Raises:
        UserError: A value is out of its range.
    """

    name = "lora"

    def __init__(
        self,
        r: int = 16,
        lora_alpha: int = 32,
        lora_dropout: float = 0.1,
        target_modules: Sequence[str] | Literal["all-linear"] = ("query", "value"),
        bias: Literal["none", "all", "lora_only"] = "none",
        use_rslora: bool = False,
        use_dora: bool = False,
        loraplus_lr_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if r <= 0:
            raise UserError(f"r is {r}; a rank is at least 1")
        if lora_alpha <= 0:
            raise UserError(f"lora_alpha is {lora_alpha}; it must be above 0")
        if not 0 <= lora_dropout < 1:
            raise UserError(f"lora_dropout is {lora_dropout}; a probability of at least 0 and below 1 is needed")
        if not 0 < loraplus_lr_ratio < math.inf:
            raise UserError(f"loraplus_lr_ratio is {loraplus_lr_ratio}; it must be above 0")
        if not target_modules:
            raise UserError("target_modules is empty; name the layers to adapt, or all-linear")
        self.r = r
        self.lora_alpha = lora_alpha
        self.lora_dropout = lora_dropout
        self.target_modules = target_modules if isinstance(target_modules, str) else list(target_modules)
        self.bias = bias
        self.use_rslora = use_rslora
        self.use_dora = use_dora
        self.loraplus_lr_ratio = loraplus_lr_ratio
        # A run goes by what it varies: qdora, not qlora.
        variants = {"dora": use_dora, "rslora": use_rslora, "lora_plus": loraplus_lr_ratio != 1}
        variant = next((name for name, is_asked in variants.items() if is_asked), "lora")
        self.name = type(self).name.replace("lora", variant)

    @property
    def former_names(self) -> frozenset[str]:
        """The name without the variant."""
        return frozenset({type(self).name} - {self.name})

    def rate_factor(self, name: str, parameter: nn.Parameter) -> float:
        """Returns LoRA+'s ratio for B and for vectors, 1 for the other weights."""
        return self.loraplus_lr_ratio if "lora_B" in name or parameter.ndim == 1 else 1.0

    def form_of(self, backbone: Backbone) -> Backbone:
        """Refuses quantised layers where their biases are to be trained."""
        if backbone.quantisation is not None and self.bias != "none":
            # bitsandbytes casts them to the compute type.
            raise UserError(
                f"biases of layers in {backbone.quantisation.bits} cannot be trained: use ",
                Setting("model.method.bias", "none"),
            )
        return backbone

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes the encoder and puts the low-rank updates beside its target layers.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The PEFT model.

        Raises:
            UserError: The architecture has no such target layers.
        """
        from peft import LoraConfig
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

        default = inspect.signature(type(self)).parameters["target_modules"].default
        targets, note = resolve_targets(
            model, self.target_modules, default, TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, or_all=True
        )
        if note:
            self.notes.append(note)
        config = LoraConfig(
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=targets,
            bias=self.bias,
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )
        return inject_adapters(model, config)
