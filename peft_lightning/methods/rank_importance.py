"""How much each rank of AdaLoRA's matrices counts, for all matrices of one shape at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_KINDS = ("lora_E", "lora_A", "lora_B")
_MEANS = ("exp_avg_ipt", "exp_avg_unc")


def named_stacks(model: nn.Module, kind: str) -> list[dict[str, nn.Parameter]]:
    """Returns a model's matrices of one kind, in groups of one shape, each by its name.

    Args:
        model: The adapted encoder.
        kind: ``lora_A``, ``lora_B`` or ``lora_E``.
    """
    groups: dict[torch.Size, dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if f".{kind}." in name:
            groups.setdefault(parameter.shape, {})[name] = parameter
    return list(groups.values())


class RankImportance:
    """The sensitivity of every weight and its uncertainty, smoothed over steps (Zhang et al. 2023, section 3.2).

    The arithmetic is that of PEFT's ``RankAllocator``, in the same order; a matrix is a row of a stack here.

    Args:
        model: The adapted encoder, on the device where it is trained.
        ranks: The ranks of all layers before any is dropped.
    """

    def __init__(self, model: nn.Module, ranks: int) -> None:
        self._stacks = {kind: [_Stack(group) for group in named_stacks(model, kind)] for kind in _KINDS}
        self._ranks = ranks
        (values,) = self._stacks["lora_E"]
        self._values = values
        layers = [name.replace("lora_E", "%s") for name in values.parameters]
        self._order: dict[str, Tensor] = {}
        for kind in ("lora_A", "lora_B"):
            rows = [name.replace(kind, "%s") for stack in self._stacks[kind] for name in stack.parameters]
            self._order[kind] = torch.tensor([rows.index(layer) for layer in layers], device=values.device)
        self._kept: Tensor | None = None

    def is_of(self, model: nn.Module) -> bool:
        """Tells whether these are the means of a model's present weights, where they are now."""
        name, value = next(iter(self._values.parameters.items()))
        return model.get_parameter(name) is value and value.device == self._values.device

    @torch.no_grad()
    def update(self, beta1: float, beta2: float) -> None:
        """Takes in the gradients of a step.

        Args:
            beta1: Decay of the mean sensitivity.
            beta2: Decay of the mean uncertainty.
        """
        for stack in self._all():
            sensitivity = (stack.weights() * stack.gradients()).abs()
            stack.sensitivity = beta1 * stack.sensitivity + (1 - beta1) * sensitivity
            deviation = (sensitivity - stack.sensitivity).abs()
            stack.uncertainty = beta2 * stack.uncertainty + (1 - beta2) * deviation

    @torch.no_grad()
    def keep(self, budget: int) -> None:
        """Keeps the ranks that count most, and sets the singular values of the others to 0.

        Args:
            budget: The number of ranks of all layers together that are kept.
        """
        if not self._values.has_means:  # a run of one step
            return
        score = self._values.score().flatten(1)
        scores = {
            "lora_A": [stack.score().mean(dim=2) for stack in self._stacks["lora_A"]],
            "lora_B": [stack.score().mean(dim=1) for stack in self._stacks["lora_B"]],
        }
        vectors = [torch.cat(scores[kind])[self._order[kind]] for kind in ("lora_A", "lora_B")]
        score = score + (vectors[0] + vectors[1])
        dropped = self._ranks - budget
        if dropped > 0:
            threshold = torch.kthvalue(score.flatten(), dropped).values
            self._kept = ~(score <= threshold)
        else:
            self._kept = torch.ones_like(score, dtype=torch.bool)
        self.mask()

    @torch.no_grad()
    def mask(self) -> None:
        """Sets the singular values of the ranks that were dropped to 0, which the last step may have moved."""
        if self._kept is not None:
            values = self._values.weights().masked_fill(~self._kept[..., None], 0.0)
            torch._foreach_copy_(list(self._values.parameters.values()), list(values.unbind()))

    def forget(self) -> None:
        """Forgets the means, which nobody needs after the last reallocation."""
        for stack in self._all():
            stack.forget()

    def pattern(self) -> dict[str, list[bool]]:
        """Returns which ranks each layer has kept, by the name of its singular values; empty if none was dropped."""
        if self._kept is None:
            return {}
        return dict(zip(self._values.parameters, self._kept.tolist(), strict=True))

    def memory(self) -> dict[str, dict[str, Tensor]]:
        """Returns the means by the name of the weight, on the CPU."""
        stacks = list(self._all())
        return {mean: {name: value for stack in stacks for name, value in stack.mean(mean).items()} for mean in _MEANS}

    def restore(self, memory: Mapping[str, Mapping[str, Tensor]], pattern: Mapping[str, list[bool]]) -> None:
        """Restores the means and the ranks kept.

        Args:
            memory: What ``memory`` returned.
            pattern: What ``pattern`` returned.
        """
        for stack in self._all():
            stack.restore(memory)
        if pattern:
            kept = [pattern[name] for name in self._values.parameters]
            self._kept = torch.tensor(kept, device=self._values.device)

    def _all(self) -> list[_Stack]:
        return [stack for stacks in self._stacks.values() for stack in stacks]


class _Stack:
    """Matrices of one kind and shape, and the means of their weights, (matrices, …)."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        self.device = next(iter(parameters.values())).device
        self.forget()

    def weights(self) -> Tensor:
        return torch.stack([parameter.detach() for parameter in self.parameters.values()])

    def gradients(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        return torch.stack(gradients)

    @property
    def has_means(self) -> bool:
        return self.sensitivity.ndim > 0

    def score(self) -> Tensor:
        return self.sensitivity * self.uncertainty

    def forget(self) -> None:
        self.sensitivity = torch.zeros((), device=self.device)
        self.uncertainty = torch.zeros((), device=self.device)

    def mean(self, name: str) -> dict[str, Tensor]:
        values = self.sensitivity if name == "exp_avg_ipt" else self.uncertainty
        if not self.has_means:  # before the first step and after the last reallocation
            return {}
        return {name: value.clone() for name, value in zip(self.parameters, values.cpu(), strict=True)}

    def restore(self, memory: Mapping[str, Mapping[str, Tensor]]) -> None:
        if all(name in memory["exp_avg_ipt"] for name in self.parameters):
            means = [torch.stack([memory[mean][name] for name in self.parameters]) for mean in _MEANS]
            self.sensitivity, self.uncertainty = (mean.to(self.device) for mean in means)
