"""Which processes a measurement consists of, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from peers.hf_variants import Variant, variants_to_try
from side_by_side.peer_job import METHODS, Kind, Method, PeerJob, Recipes

# Those that train each kind of backbone; the others' recipes or libraries do not.
PEERS_OF: Mapping[Recipes, Sequence[str]] = {
    "study": ("hf-study", "hf-best", "adapters", "lightning", "ours"),
    "decoder": ("hf-best", "hf-checkpointed", "hf-fsdp2", "lightning", "ours"),
}
PEERS = tuple(dict.fromkeys(itertools.chain(*PEERS_OF.values())))
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


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Args:
        peers: who.
        methods: what each of them trains.
        batch_sizes: reviews in a batch.
        max_lengths: tokens that reviews are cut to.
        steps: optimiser steps of a measurement.
        warmup_steps: those before the clock starts.
        repeats: how often each is measured.
        ours: further words for this project's command line, by the row's name.
        trial_variants: how many variants of the HF Trainer are tried for each method and size.
        trial_compiled: how many of them under `torch_compile`.
        trial_steps: optimiser steps of a trial, a third of which warm up.
        whole_job: measure whole jobs as well.
        n_train: reviews that a whole job trains on.
        n_test: reviews that a whole job is tested on.
        epochs: how often a whole job goes through its reviews.
        learning_rate: the peak learning rate of every peer.
        reviews: folder or file of the reviews.
        backbone: folder of the backbone.
        most_reviews: as many reviews as there are to train on.
        tokens_per_step: mean tokens of a batch without padding, by batch size, length and reviews trained on.
        recipes: whose backbones are trained, an encoder's by the study's recipes or a decoder's.
        devices: on how many GPUs, or processes on a CPU, each is measured.
    """

    peers: Sequence[str]
    methods: Sequence[Method]
    batch_sizes: Sequence[int]
    max_lengths: Sequence[int]
    steps: int
    warmup_steps: int
    repeats: int
    ours: Mapping[str, tuple[str, ...]]
    trial_variants: int
    trial_compiled: int
    trial_steps: int
    whole_job: bool
    n_train: int
    n_test: int
    epochs: int
    learning_rate: float
    reviews: str
    backbone: str
    most_reviews: int
    tokens_per_step: Mapping[tuple[int, int, int], float] = field(default_factory=dict)
    recipes: Recipes = "study"
    devices: Sequence[int] = (1,)

    def job(
        self,
        kind: Kind,
        peer: str,
        variant: str,
        method: Method,
        batch_size: int,
        max_length: int,
        repeat: int = 0,
        devices: int = 1,
    ) -> PeerJob:
        """Makes a job."""
        steps, warmup = self.steps, self.warmup_steps
        if kind == "trial":
            steps, warmup = self.trial_steps, max(1, self.trial_steps // 3)
        elif kind == "whole":
            steps = -(-self.n_train // (batch_size * devices)) * self.epochs
            warmup = min(warmup, steps - 1)
        # As many reviews as the steps take, where there are so many.
        n_train = self.n_train if kind == "whole" else min(steps * batch_size * devices, self.most_reviews)
        return PeerJob(
            kind=kind,
            peer=peer,
            variant=variant,
            method=method,
            batch_size=batch_size,
            max_length=max_length,
            steps=steps,
            warmup_steps=warmup,
            repeat=repeat,
            n_train=n_train,
            n_test=self.n_test if kind == "whole" else 0,
            learning_rate=self.learning_rate,
            reviews=self.reviews,
            backbone=self.backbone,
            tokens_per_step=devices * self.tokens_per_step.get((batch_size, max_length, n_train), 0.0),
            words=self.ours.get(variant, ()) if peer == "ours" else (),
            recipes=self.recipes,
            devices=devices,
        )

    def sizes(self) -> list[tuple[int, int]]:
        """Batch sizes with lengths, the shorter first."""
        return [(batch_size, length) for length in self.max_lengths for batch_size in self.batch_sizes]

    def with_tokens(self, mean_tokens: Callable[[PeerJob], float]) -> Wanted:
        """Looks up how many tokens there are in a batch, for every size and number of reviews.

        Args:
            mean_tokens: counts the mean tokens of the reviews that a job trains on.
        """
        kinds: list[Kind] = ["trial", "step", "whole"] if self.whole_job else ["trial", "step"]
        asked = itertools.product(kinds, self.sizes(), dict.fromkeys([1, *self.devices]))
        jobs = [self.job(kind, "", "", self.methods[0], *size, 0, count) for kind, size, count in asked]
        counted = {(job.batch_size, job.max_length, job.n_train): job.batch_size * mean_tokens(job) for job in jobs}
        return replace(self, tokens_per_step=counted)


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
