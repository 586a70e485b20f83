"""The processes of a measurement in their order, and the variants in which each peer trains."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from peers.hf_variants import Variant, variants_to_try
from side_by_side.peer_job import METHODS, Method, PeerJob, Recipes
from side_by_side.wanted import Wanted

# On several GPUs; the study's recipe and `adapters` are measured on one.
_SPREAD = ("hf-best", "hf-fsdp2", "hf-checkpointed", "lightning", "ours")
WHOLE_PEERS = ("hf-study", "hf-best", "ours")
# `adapters` has no full fine-tuning of its own; it trains with its kind of HF Trainer, once plainly, once fast.
_ADAPTERS_METHODS = ("lora", "qlora", "ia3")
_ADAPTERS_VARIANTS = ("fp32-padded-fused-w0", "bf16-grouped-fused-w0")
_LIGHTNING_VARIANTS: Mapping[Recipes, Sequence[str]] = {
    "study": ("32-true", "bf16-mixed"),
    "decoder": ("bf16-mixed",),
}
# In the place of a variant of hf-best: its trials are still to be run, or all of them failed.
UNDECIDED = "by trial"
NONE_WORKS = "none works"

Records = Mapping[str, Mapping[str, Any]]


def jobs_of(wanted: Wanted, records: Records) -> list[PeerJob]:
    """Lists the processes in the order they are started: floors and trials, then repeat by repeat everything else.

    Args:
        wanted: what is to be measured.
        records: what has been measured, by key: a trial's outcome decides on the variant that is measured.
    """
    sizes, methods = wanted.sizes(), wanted.methods
    # One for all methods; what a decoder cannot do without is not counted.
    jobs = [wanted.job("floor", "floor", "floor", METHODS[0], *size) for size in sizes if wanted.recipes == "study"]
    if {"hf-best", "hf-fsdp2"} & set(wanted.peers):
        jobs += [trial for size in sizes for method in methods for trial in trials_of(wanted, method, *size)]
    for repeat in range(wanted.repeats):
        for size in sizes:
            for method, devices in itertools.product(methods, wanted.devices):
                peers = [peer for peer in wanted.peers if devices == 1 or peer in _SPREAD]
                rows = [row for peer in peers for row in variants_of(wanted, records, peer, method, *size, devices)]
                jobs += [wanted.job("step", peer, variant, method, *size, repeat, devices) for peer, variant in rows]
        if wanted.whole_job:
            size = sizes[0]
            for method in methods:
                whole = [peer for peer in wanted.peers if peer in WHOLE_PEERS]
                rows = [row for peer in whole for row in variants_of(wanted, records, peer, method, *size)]
                jobs += [wanted.job("whole", peer, variant, method, *size, repeat) for peer, variant in rows]
    return jobs


def trials_of(wanted: Wanted, method: Method, batch_size: int, max_length: int) -> list[PeerJob]:
    """The HF Trainer's variants that are tried for a method at a size, on one GPU; none where there is no choice."""
    variants = _hf_variants(wanted)
    if len(variants) == 1:
        return []
    return [wanted.job("trial", "hf-best", v.name, method, batch_size, max_length) for v in variants]


def variants_of(
    wanted: Wanted, records: Records, peer: str, method: Method, batch_size: int, max_length: int, devices: int = 1
) -> list[tuple[str, str]]:
    """The ways in which a peer trains a method: the peer and the variant of each."""
    if peer == "hf-fsdp2" and (devices == 1 or method != "full"):  # where it has nothing to shard
        return []
    if peer in ("hf-best", "hf-fsdp2"):
        return [(peer, chosen_variant(wanted, records, method, batch_size, max_length))]
    if peer == "hf-checkpointed":  # where memory is short, nothing is tried
        return [(peer, _hf_variants(wanted)[0].name)]
    if peer == "adapters":
        return [(peer, variant) for variant in _ADAPTERS_VARIANTS if method in _ADAPTERS_METHODS]
    if peer == "lightning":
        return [(peer, variant) for variant in _LIGHTNING_VARIANTS[wanted.recipes]]
    if peer == "ours":
        return [(peer, name) for name in wanted.ours]
    return [(peer, "defaults")]


def chosen_variant(wanted: Wanted, records: Records, method: Method, batch_size: int, max_length: int) -> str:
    """The fastest variant of the trials, `UNDECIDED` while not all have been run, `NONE_WORKS` where none finished.

    A single variant that may be tried is taken without a trial.
    """
    only = _hf_variants(wanted)
    if len(only) == 1:
        return only[0].name
    tried = {job.variant: records.get(job.key) for job in trials_of(wanted, method, batch_size, max_length)}
    times = {
        variant: float(record["figures"]["ms_per_step"])
        for variant, record in tried.items()
        if record is not None and record["status"] == "finished"
    }
    if None in tried.values():
        return UNDECIDED
    return min(times, key=lambda variant: times[variant]) if times else NONE_WORKS


def _hf_variants(wanted: Wanted) -> list[Variant]:
    return variants_to_try(wanted.trial_variants, wanted.trial_compiled, wanted.recipes)
