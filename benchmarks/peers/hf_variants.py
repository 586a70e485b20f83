"""The ways to run the HF Trainer that are worth a trial."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from side_by_side.peer_job import Recipes


@dataclass(frozen=True)
class Variant:
    """Settings of the HF Trainer that change its speed and leave its work alone.

    Args:
        bf16: autocast to bfloat16.
        grouped: group by length and pad to the longest of a batch, instead of to the full length.
        fused: the fused AdamW, instead of the one that loops over tensors in groups.
        workers: processes that load.
        compiled: `torch_compile`.
    """

    bf16: bool
    grouped: bool
    fused: bool
    workers: int
    compiled: bool = False

    @property
    def name(self) -> str:
        """The variant's name in tables; `read_variant` reads it."""
        parts = ["bf16" if self.bf16 else "fp32", "grouped" if self.grouped else "padded"]
        parts += ["fused" if self.fused else "torch", f"w{self.workers}"]
        return "-".join([*parts, "compiled"] if self.compiled else parts)


def read_variant(name: str) -> Variant:
    """Reads a variant's name.

    Args:
        name: such as `bf16-grouped-fused-w2`.
    """
    precision, padding, optimiser, workers, *compiled = name.split("-")
    return Variant(
        bf16=precision == "bf16",
        grouped=padding == "grouped",
        fused=optimiser == "fused",
        workers=int(workers.removeprefix("w")),
        compiled=bool(compiled),
    )


def variants_to_try(count: int, compiled: int = 0, recipes: Recipes = "study") -> list[Variant]:
    """Orders the variants so that any first few of them differ in what matters most.

    Args:
        count: how many to try, at most the 16 that there are; of decoders', whose recipes are in bf16, 8.
        compiled: how many further ones to try under `torch_compile`, which takes minutes to start.
        recipes: whose backbones are trained.

    Returns:
        First the fused optimiser, in both precisions and with both paddings, then the loader's workers, then the
        optimiser that loops; of decoders' first the one that pads least.
    """
    ways: tuple[tuple[bool, bool], ...] = ((False, False), (True, False), (True, True), (False, True))
    if recipes == "decoder":
        ways = ((True, True), (True, False))
    everything = [
        Variant(bf16, grouped, fused, workers)
        for fused, workers, (bf16, grouped) in itertools.product((True, False), (0, 2), ways)
    ]
    chosen = everything[:count]
    # One shape for all batches: with dynamic padding a compiled model is compiled again, or for shapes in general.
    under_compilation = [Variant(True, False, True, 0, True), Variant(False, False, True, 0, True)]
    return [*chosen, *[variant for variant in under_compilation if variant.bf16 or recipes == "study"][:compiled]]
