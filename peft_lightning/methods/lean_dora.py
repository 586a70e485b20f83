"""DoRA's part of a layer in kernels that torch.compile can follow, whatever holds the weight."""

from __future__ import annotations

from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor, nn
from torch.nn import functional


class LeanDoRA(DoraLinearLayer):
    """DoRA's part of a layer (Liu et al. 2024, arXiv:2402.09353) that reads a weight in floats itself.

    PEFT's own asks for the weight's class, at which the compiler of torch 2.13 splits each layer in two.
    """

    def forward(
        self,
        x: Tensor,
        *,
        lora_A: nn.Module,
        lora_B: nn.Module,
        scaling: float,
        base_layer: nn.Module,
        base_result: Tensor | None = None,
        adapter_name: str = "default",
    ) -> Tensor:
        """Returns what is added to the outputs of the frozen layer, (…, outputs).

        Args:
            x: The layer's inputs after dropout, (…, inputs).
            lora_A: The update's first factor.
            lora_B: The update's second factor.
            scaling: What the update is multiplied by.
            base_layer: The frozen layer.
            base_result: Its outputs, where there is no dropout.
            adapter_name: The adapter.
        """
        added: Tensor
        weight = self.weight_of(base_layer, base_result)
        if weight is None:
            added = super().forward(  # type: ignore[no-untyped-call]
                x,
                lora_A=lora_A,
                lora_B=lora_B,
                scaling=scaling,
                base_layer=base_layer,
                base_result=base_result,
                adapter_name=adapter_name,
            )
            return added
        weight = weight.to(x.dtype)
        update = self.get_lora_weight(lora_A=lora_A, lora_B=lora_B, adapter_name=adapter_name).to(x.dtype)
        norm = self.get_weight_norm(
            weight=weight, lora_weight=update.detach(), scaling=scaling, adapter_name=adapter_name
        ).detach()
        scale = (self.weight / norm).view(1, -1)
        if base_result is None:
            base_result = self.product(x, weight, base_layer)
        elif isinstance(bias := base_layer.bias, Tensor):
            base_result = base_result - bias
        added = (scale - 1) * base_result + scale * lora_B(lora_A(x)) * scaling
        return added

    def weight_of(self, layer: nn.Module, result: Tensor | None) -> Tensor | None:
        """Returns the weight of the frozen layer, (outputs, inputs); None where PEFT's own pass is the one to take.

        Args:
            layer: The frozen layer.
            result: Its outputs, where there is no dropout.
        """
        return layer.weight if type(layer) is nn.Linear and not self.fan_in_fan_out else None

    def product(self, x: Tensor, weight: Tensor, layer: nn.Module) -> Tensor:
        """Returns the inputs times the weight, (…, outputs).

        Args:
            x: The inputs, (…, inputs).
            weight: The weight, in the type of the inputs, (outputs, inputs).
            layer: The frozen layer.
        """
        return functional.linear(x, weight)
