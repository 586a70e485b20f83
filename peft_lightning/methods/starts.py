"""Starts of LoRA that are computed from training data before the first step: EVA, CorDA and LoRA-GA.

PEFT computes them; without data it falls back to LoRA's usual start and says nothing. Here a start is computed once,
checked, and then applied to the adapted model. A checkpoint keeps what applies it again in a fresh process.
"""

from __future__ import annotations

import contextlib
import copy
import io
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.data_start import Computed, DataStart, TrainingSample, lora_layers, require_all
from peft_lightning.methods.injection import widen_trained

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraLayer

# EVA goes through the batches until its directions stand still. Ten times as many passes as batches were never needed
# in the tests; a batch with fewer tokens than directions would otherwise go round for ever.
_MOST_ROUNDS = 20


class EVA(DataStart):
    """A starts at the directions in which a layer's inputs vary most (Paischer et al. 2024, arXiv:2410.07170).

    Ranks go to the layers whose directions explain most; a layer may end without any.
    """

    argument = "eva_config"

    def compute(self, model: PeftModel, sample: TrainingSample) -> Computed:
        """Computes the directions of every layer by PEFT's incremental analysis of the inputs."""
        from peft import get_eva_state_dict

        passes = 0

        def forward(network: nn.Module, inputs: dict[str, Tensor]) -> None:
            nonlocal passes
            passes += 1
            if passes > _MOST_ROUNDS * len(sample.batches):
                raise UserError(
                    f"EVA's directions have not come to rest in {_MOST_ROUNDS} passes over {len(sample.batches)} "
                    "training batches: use more with ",
                    Setting("model.method.start_batches", 2 * len(sample.batches)),
                    ", larger batches, a smaller r, or a lower tau in eva_config",
                )
            with sample.context():
                network(**inputs)

        # PEFT prints a line for every batch that is too small.
        with contextlib.redirect_stdout(io.StringIO()), _decomposing_outside_autocast(sample.device.type):
            directions: dict[str, Tensor] = get_eva_state_dict(
                model, sample.inputs(), forward_fn=forward, gather_distributed_inputs=False, show_progress_bar=False
            )
        layers = lora_layers(model)
        require_all("EVA", layers, directions)
        return {"directions": {name: directions[name].float().cpu() for name in layers}}

    def apply(self, model: PeftModel, computed: Computed) -> None:
        """Sets A and the ranks; layers without a rank lose their adapter."""
        from peft import initialize_lora_eva_weights

        directions = computed.get("directions")
        if directions is None:  # a checkpoint's trained weights take their place
            inputs = {name: cast("int", layer.in_features) for name, layer in lora_layers(model).items()}
            directions = {name: torch.zeros(rank, inputs[name]) for name, rank in computed["ranks"].items()}
        initialize_lora_eva_weights(model, eva_state_dict=dict(directions))
        widen_trained(model)

    def kept(self, computed: Computed) -> Computed:
        """Returns the ranks: the directions are the beginning of trained weights."""
        directions = computed.get("directions")
        return {"ranks": computed["ranks"] if directions is None else {k: len(v) for k, v in directions.items()}}

    def same(self, computed: Computed, saved: Computed) -> bool:
        """Tells whether a checkpoint's layers had the same ranks."""
        return bool(self.kept(computed)["ranks"] == saved["ranks"])

    def findings(self, computed: Computed) -> list[str]:
        """Returns the ranks of the layers."""
        ranks = self.kept(computed)["ranks"]
        named = {name.removeprefix("base_model.model."): rank for name, rank in ranks.items()}
        return ["EVA gave ranks: " + ", ".join(f"{layer} {rank}" for layer, rank in named.items())]


@contextlib.contextmanager
def _decomposing_outside_autocast(device: str) -> Iterator[None]:
    """Lets PEFT decompose the inputs of layers in 32 bits where the network computes under autocast.

    Its hooks run inside the network, and torch has no QR decomposition in 16 bits ("geqrf" not implemented).
    """
    from peft.utils import incremental_pca

    analysis: Any = incremental_pca.IncrementalPCA
    decompose = analysis.partial_fit

    def outside(*arguments: Any, **settings: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return decompose(*arguments, **settings)

    analysis.partial_fit = outside
    try:
        yield
    finally:
        analysis.partial_fit = decompose


class _FactorStart(DataStart):
    """A start with both factors set, whose product is taken off the weight: the model computes the same at first."""

    name: ClassVar[str]

    @abstractmethod
    def _prepare(self, model: PeftModel, config: LoraConfig, sample: TrainingSample) -> None:
        """Leaves at each layer what PEFT's start of one layer takes from there."""

    @abstractmethod
    def _start(self, layer: LoraLayer, config: LoraConfig) -> None:
        """Lets PEFT start one layer."""

    def compute(self, model: PeftModel, sample: TrainingSample) -> Computed:
        """Computes the factors of every layer by PEFT's own functions."""
        layers = lora_layers(model)
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


_STARTS: dict[str, type[DataStart]] = {"corda": CorDA, "eva": EVA, "lora_ga": LoRAGA}


def start_from_data(peft_type: str, arguments: Mapping[str, object]) -> DataStart | None:
    """Returns the start that a type's arguments ask for; None where it needs no data.

    Args:
        peft_type: The type, such as ``LORA``.
        arguments: The arguments that the user has set.
    """
    asked = arguments.get("init_lora_weights") if peft_type == "LORA" else None
    return _STARTS[asked]() if isinstance(asked, str) and asked in _STARTS else None


def _renamed(config: Any, layers: Mapping[str, LoraLayer]) -> LoraConfig:
    """Returns the configuration with the layers below the adapters in place of those that it names."""
    renamed = copy.deepcopy(config)
    renamed.target_modules = {f"{name}.base_layer" for name in layers}
    renamed.rank_pattern = {f"{name}.base_layer": layer.r["default"] for name, layer in layers.items()}
    renamed.exclude_modules = renamed.layers_to_transform = renamed.layers_pattern = None
    return cast("LoraConfig", renamed)
