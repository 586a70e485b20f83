"""CorDA and LoRA-GA: both of LoRA's factors start at values from data, and their product is taken off the weight."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.data_start import Computed, DataStart, TrainingSample, lora_layers, require_all

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraLayer


class _FactorStart(DataStart):
    """A start with both factors set, whose product is taken off the weight: the model computes the same at first."""

    name: ClassVar[str]
    components: ClassVar[int]
    """The components of a layer's matrix that a rank takes: PEFT fails where the matrix has fewer."""

    @abstractmethod
    def _prepare(self, model: PeftModel, config: LoraConfig, sample: TrainingSample) -> None:
        """Leaves at each layer what PEFT's start of one layer takes from there."""

    @abstractmethod
    def _start(self, layer: LoraLayer, config: LoraConfig) -> None:
        """Lets PEFT start one layer."""

    def compute(self, model: PeftModel, sample: TrainingSample) -> Computed:
        """Computes the factors of every layer by PEFT's own functions."""
        layers = lora_layers(model)
        for name, layer in layers.items():
            self._require_components(name, layer)
        # PEFT looks for the layers by name, here in a model that has its adapters already.
        config = _renamed(model.peft_config["default"], layers)
        self._prepare(model, config, sample)
        factors: dict[str, dict[str, Tensor]] = {}
        for name, layer in layers.items():
            weight = cast("nn.Linear", layer.get_base_layer()).weight
            own = weight.data
            with torch.no_grad():
                self._start(layer, config)
            weight.data = own  # what PEFT leaves there is computed again by `apply`, on the CPU
            pair = {"A": cast("nn.Linear", layer.lora_A["default"]), "B": cast("nn.Linear", layer.lora_B["default"])}
            factors[name] = {part: linear.weight.detach().float().cpu().clone() for part, linear in pair.items()}
            if not bool(factors[name]["B"].any()):
                raise UserError(f"{self.name} found no start for {name} in {len(sample.batches)} training batches")
        return {"factors": factors}

    def _require_components(self, name: str, layer: LoraLayer) -> None:
        rank, there = layer.r["default"], min(cast("nn.Linear", layer.get_base_layer()).weight.shape)
        if self.components * rank > there:
            raise UserError(
                f"{self.name} with r {rank} takes {self.components * rank} components of a layer's matrix, and that of"
                f" {name.removeprefix('base_model.model.')} has {there}: use ",
                Setting("model.method.config.r", max(there // self.components, 1)),
                " or less, or other target_modules",
            )

    def apply(self, model: PeftModel, computed: Computed) -> None:
        """Sets both factors, and takes their product off the weight.

        The product is computed on the CPU, wherever the model is: a GPU's sums end in other bits, and a checkpoint
        would be rebuilt as another model.
        """
        layers = lora_layers(model)
        require_all(self.name, layers, computed["factors"])
        with torch.no_grad():
            for name, factors in computed["factors"].items():
                layer, a, b = layers[name], factors["A"], factors["B"]
                layer.lora_A["default"].weight.data = a.to(layer.lora_A["default"].weight.device).clone()
                layer.lora_B["default"].weight.data = b.to(layer.lora_B["default"].weight.device).clone()
                weight = cast("nn.Linear", layer.get_base_layer()).weight
                rest = weight.data.float().cpu() - layer.scaling["default"] * (b @ a)
                weight.data = rest.to(weight.device, weight.dtype)

    def same(self, computed: Computed, saved: Computed) -> bool:
        """Tells whether a checkpoint's start has the same factors."""
        factors, others = computed["factors"], saved["factors"]
        return factors.keys() == others.keys() and all(
            torch.equal(factors[name][part], others[name][part]) for name in factors for part in ("A", "B")
        )


class CorDA(_FactorStart):
    """Both factors start at the main components of the weight as inputs see it (Yang et al. 2024, arXiv:2406.05223).

    Every text passes by itself, without padding: PEFT takes the covariance of one text's inputs at a time.
    """

    name = "CorDA"
    components = 1
    argument = "corda_config"

    def _prepare(self, model: PeftModel, config: LoraConfig, sample: TrainingSample) -> None:
        from peft.tuners.lora.corda import preprocess_corda

        def run() -> None:
            for inputs in sample.on_device():
                mask = inputs.get("attention_mask")
                for row, tokens in enumerate(inputs["input_ids"]):
                    text = tokens if mask is None else tokens[mask[row].bool()]
                    model(input_ids=text[None])

        was_training = model.training
        preprocess_corda(model, config, run)
        model.train(was_training)

    def _start(self, layer: LoraLayer, config: LoraConfig) -> None:
        layer.corda_init("default", "corda")  # type: ignore[no-untyped-call]


class LoRAGA(_FactorStart):
    """Both factors start at the gradient's, so that a step goes where full fine-tuning's would (arXiv:2407.05000)."""

    name = "LoRA-GA"
    components = 2
    argument = "lora_ga_config"

    def _prepare(self, model: PeftModel, config: LoraConfig, sample: TrainingSample) -> None:
        from peft.tuners.lora.loraga import preprocess_loraga

        def run() -> None:
            for batch in sample.on_device():
                sample.loss(model, batch).backward()  # type: ignore[no-untyped-call]

        preprocess_loraga(model, config, run)

    def _start(self, layer: LoraLayer, config: LoraConfig) -> None:
        if hasattr(layer.get_base_layer(), "_peft_loraga_grad"):
            layer.lora_ga_init("default", config.lora_ga_config)  # type: ignore[no-untyped-call]


def _renamed(config: Any, layers: Mapping[str, LoraLayer]) -> LoraConfig:
    """Returns the configuration with the layers below the adapters in place of those that it names."""
    renamed = copy.deepcopy(config)
    renamed.target_modules = {f"{name}.base_layer" for name in layers}
    renamed.rank_pattern = {f"{name}.base_layer": layer.r["default"] for name, layer in layers.items()}
    renamed.exclude_modules = renamed.layers_to_transform = renamed.layers_pattern = None
    return cast("LoraConfig", renamed)
