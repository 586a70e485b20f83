"""EVA: LoRA starts at the main directions of its layers' inputs, and ranks go to the layers that they explain most."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.data_start import Computed, DataStart, TrainingSample, lora_layers, require_all
from peft_lightning.methods.injection import widen_trained

if TYPE_CHECKING:
    from peft import PeftModel

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
                more = (
                    ("train on more texts with ", Setting("data.n_train"))
                    if sample.asked > len(sample.batches)
                    else ("use more with ", Setting("model.method.start_batches", 2 * len(sample.batches)))
                )
                raise UserError(
                    f"EVA's directions have not come to rest in {_MOST_ROUNDS} passes over {len(sample.batches)} "
                    "training batches: ",
                    *more,
                    ", or try larger batches, a smaller r, or a lower tau in eva_config",
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
