"""What a measurement consists of: who trains what, at which sizes and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from side_by_side.peer_job import Kind, Method, PeerJob, Recipes

# Those that train each kind of backbone; the others' recipes or libraries do not.
PEERS_OF: Mapping[Recipes, Sequence[str]] = {
    "study": ("hf-study", "hf-best", "adapters", "lightning", "ours"),
    "decoder": ("hf-best", "hf-checkpointed", "hf-fsdp2", "lightning", "ours"),
}
PEERS = tuple(dict.fromkeys(itertools.chain(*PEERS_OF.values())))


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
        jobs = [
            self.job(kind, "", "", self.methods[0], batch_size, length, devices=devices)
            for kind, (batch_size, length), devices in asked
        ]
        counted = {(job.batch_size, job.max_length, job.n_train): job.batch_size * mean_tokens(job) for job in jobs}
        return replace(self, tokens_per_step=counted)
