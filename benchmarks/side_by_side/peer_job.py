"""One process of a measurement: who trains what, with which settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["floor", "trial", "step", "whole"]
Recipes = Literal["study", "decoder"]
Method = Literal["full", "lora", "qlora", "ia3", "dora", "7b-qlora", "7b-qlora-lean"]
METHODS: tuple[Method, ...] = ("full", "lora", "qlora", "ia3")
# The files of `configs/study/` and of `configs/decoder/`, those first that are measured unless others are named.
METHODS_OF: dict[Recipes, tuple[Method, ...]] = {
    "study": METHODS,
    "decoder": ("lora", "qlora", "dora", "full", "7b-qlora", "7b-qlora-lean"),
}


@dataclass(frozen=True)
class PeerJob:
    """What one process trains.

    Args:
        kind: `floor` computes what the hardware allows, `trial` chooses among variants, `step` measures steps in
            steady state, `whole` a job from the process's start to its end.
        peer: who trains.
        variant: which of the peer's ways.
        method: what is trained.
        batch_size: reviews in a batch.
        max_length: tokens that reviews are cut to.
        steps: optimiser steps.
        warmup_steps: the clock starts after these.
        repeat: which repeat this is, from 0; also the seed.
        n_train: reviews that are trained on.
        n_test: reviews that are tested on at the end; 0 for none.
        learning_rate: the peak learning rate.
        reviews: folder or file of the reviews.
        backbone: folder of the backbone.
        tokens_per_step: tokens of a batch, padding left out: the mean over all reviews that are trained on.
        words: further words for a command line of the peer's own.
        recipes: the folder of `configs/` that the method's recipe is in.
        devices: GPUs, or processes on a CPU; each trains batches of its own.
    """

    kind: Kind
    peer: str
    variant: str
    method: Method
    batch_size: int
    max_length: int
    steps: int
    warmup_steps: int
    repeat: int
    n_train: int
    n_test: int
    learning_rate: float
    reviews: str
    backbone: str
    tokens_per_step: float
    words: tuple[str, ...] = ()
    recipes: Recipes = "study"
    devices: int = 1

    @property
    def key(self) -> str:
        """What tells this process from every other of a measurement; where files lie is no part of it."""
        parts = [self.kind, self.peer, self.variant, self.method, f"b{self.batch_size}", f"l{self.max_length}"]
        parts += [f"s{self.steps}-{self.warmup_steps}", f"n{self.n_train}-{self.n_test}"]
        parts += [self.recipes] if self.recipes != "study" else []
        parts += [f"d{self.devices}"] if self.devices != 1 else []
        return "/".join([*parts, f"lr{self.learning_rate:g}", f"r{self.repeat}", *self.words])

    @property
    def in_four_bits(self) -> bool:
        """Whether the backbone is held in four bits."""
        return "qlora" in self.method

    @property
    def seed(self) -> int:
        """The seed of initialisation, order and dropout."""
        return 42 + self.repeat

    @property
    def log_every(self) -> int:
        """Steps between two losses: at most 25, and such that the last step is one of them."""
        return max(n for n in range(1, 26) if self.steps % n == 0)

    def write(self, path: Path) -> None:
        """Writes the job for its process."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> PeerJob:
        """Reads what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["words"] = tuple(content["words"])
        return cls(**content)


def identity(job: PeerJob) -> dict[str, Any]:
    """What a record says of its job, so that tables can be made from records alone."""
    names = ["kind", "peer", "variant", "method", "batch_size", "max_length", "steps", "warmup_steps", "repeat"]
    names += ["recipes", "devices"]
    return {name: getattr(job, name) for name in names} | {"words": list(job.words)}
