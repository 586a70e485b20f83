"""AdaLoRA's own part of training: its penalty, its reallocation of ranks, and what a resume needs of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from peft_lightning.errors import UserError
from peft_lightning.methods.own_part import OwnPart
from peft_lightning.methods.rank_importance import RankImportance, named_stacks

if TYPE_CHECKING:
    from peft import AdaLoraConfig
    from peft.tuners.adalora import AdaLoraModel

# Until the length of the run is known.
UNKNOWN_LENGTH = 2**31 - 1


class AdaLoRA(OwnPart):
    """AdaLoRA's penalty and its reallocation of ranks (Zhang et al. 2023, arXiv:2303.10512).

    PEFT's ``update_and_allocate`` walks over all matrices and waits for the device at every reallocation: with 72
    adapted layers on an H200 it took seven times as long as LoRA's whole step. Here matrices of one shape are one
    tensor, and nothing is read back from the device until somebody asks for the ranks. The ranks kept are PEFT's.
    """

    name = "adalora"
    follows_from_run: Mapping[str, Any] = {"total_step": UNKNOWN_LENGTH}
    reads_gradients = True
    needs_whole_weights = True

    def __init__(self) -> None:
        self._importance: RankImportance | None = None
        self._restored: Mapping[str, Any] = {}

    def least_steps(self, arguments: Mapping[str, Any]) -> int:
        """Returns one step more than those before and after the reallocation."""
        return int(arguments.get("tinit") or 0) + int(arguments.get("tfinal") or 0) + 1

    def settle(self, model: nn.Module) -> None:
        """Freezes what each layer divides its update by, the rank that it started with, in 32 bits.

        PEFT 0.21 casts it to the type of a backbone in bf16 or four bits, which makes it a new weight that is trained;
        and its files leave it out, so that what they hold would answer otherwise than what was trained.
        """
        for layer in model.modules():
            if isinstance(divisors := getattr(layer, "ranknum", None), nn.ParameterDict):
                for name, divisor in divisors.items():
                    divisor.data = torch.full_like(divisor, float(layer.r[name]), dtype=torch.float32)  # type: ignore[index]
                    divisor.requires_grad = False

    def begin(self, model: nn.Module, total_steps: int) -> None:
        """Sets the schedule's length."""
        config = _config(model)
        if config.tinit >= total_steps - config.tfinal:
            raise UserError(
                f"AdaLoRA reallocates ranks after its first {config.tinit} steps and before its last {config.tfinal}, "
                f"and this run has {total_steps}: choose smaller tinit and tfinal, or train longer"
            )
        config.total_step = total_steps

    def extra_loss(self, model: nn.Module) -> Tensor:
        """Computes the penalty, equation 4 of the paper, as PEFT weighs it.

        PEFT adds it to ``output.loss`` alone, in evaluation too; a loss computed from logits never sees it.

        Returns:
            ``orth_reg_weight`` times the mean Frobenius distance of the singular vectors' products from the identity.
        """
        distances: list[Tensor] = []
        for kind in ("lora_A", "lora_B"):
            for parameters in named_stacks(_encoder(model), kind):
                matrices = torch.stack(list(parameters.values()))
                product = matrices @ matrices.mT if kind == "lora_A" else matrices.mT @ matrices
                identity = torch.eye(product.shape[-1], device=product.device)
                distances.append(torch.linalg.matrix_norm(product - identity))
        return _config(model).orth_reg_weight * torch.cat(distances).mean()

    def after_step(self, model: nn.Module, step: int) -> None:
        """Updates the importance of every rank, and drops ranks when it is their time; as PEFT's allocator does."""
        config, importance = _config(model), self._its_importance(model)
        last = cast("int", config.total_step) - config.tfinal
        if step < last:
            importance.update(config.beta1, config.beta2)
        if step <= last:
            budget, due = _tuner(model).rankallocator.budget_schedule(step)
            if due or step == last:
                importance.keep(budget)
        else:
            importance.mask()
        if step == last:
            importance.forget()

    def findings(self, model: nn.Module) -> list[str]:
        """Returns the ranks that the layers have kept."""
        pattern = self._pattern(model)
        if not pattern:
            return []
        ranks = {name.partition(".lora_E")[0]: sum(kept) for name, kept in sorted(pattern.items())}
        return ["ranks kept: " + ", ".join(f"{layer} {rank}" for layer, rank in ranks.items())]

    def state(self, model: nn.Module) -> dict[str, Any]:
        """Returns what the reallocation goes on from: the running means of every weight, and the ranks kept."""
        return {"memory": self._its_importance(model).memory(), "rank_pattern": self._pattern(model)}

    def restore(self, model: nn.Module, saved: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned; the means go to the device with the first step."""
        self._importance, self._restored = None, saved
        _config(model).rank_pattern = saved["rank_pattern"] or None

    def _its_importance(self, model: nn.Module) -> RankImportance:
        encoder = _encoder(model)
        before = self._importance
        if before is None or not before.is_of(encoder):
            # A model that has moved to another device keeps its means.
            saved = self._restored
            if before is not None:
                saved = {"memory": before.memory(), "rank_pattern": before.pattern()}
            self._importance = RankImportance(encoder, _tuner(model).rankallocator.init_bgt)
            if saved:
                self._importance.restore(saved["memory"], saved["rank_pattern"])
            self._restored = {}
            return self._importance
        return before

    def _pattern(self, model: nn.Module) -> dict[str, list[bool]]:
        """Returns which ranks each layer has kept, and leaves it where PEFT's files take it from."""
        pattern = self._its_importance(model).pattern()
        if pattern:
            _config(model).rank_pattern = pattern
        return pattern


def _tuner(model: nn.Module) -> AdaLoraModel:
    return cast("AdaLoraModel", model.base_model)


def _encoder(model: nn.Module) -> nn.Module:
    return cast("nn.Module", _tuner(model).model)


def _config(model: nn.Module) -> AdaLoraConfig:
    return cast("AdaLoraConfig", _tuner(model).peft_config["default"])
