"""The contract of every recipe, check by check: one row of the table in docs/peft_types.md.

``python -m tests.methods.contract`` prints the table.
"""

from __future__ import annotations

import copy
import functools
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from peft_lightning import methods
from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import Method
from peft_lightning.methods.data_start import TrainingSample
from peft_lightning.methods.parameters import count_parameters, trainable_names

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BASIC = ("full", "lora", "qlora", "ia3", "ia3_lora", "head")
RECIPES = {name: CONFIGS / f"{name}.yaml" for name in BASIC} | {
    path.stem: path for path in sorted((CONFIGS / "peft").glob("*.yaml"))
}
STEPS = 4
YES, REFUSED = "✓", "–"
LABELS = torch.tensor([0, 1, 0, 1])
# Of the backbone in the package: dense and projection to two classes.
HEAD = 256 * 256 + 256 + 256 * 2 + 2


@dataclass
class Made:
    """A recipe's method and model, and the optimiser that trains it."""

    method: Method
    model: Any
    optimizer: torch.optim.Optimizer


def backbone(name: str, **changed: Any) -> Backbone:
    """The backbone in the package, held as the recipe holds it."""
    bits = yaml.safe_load(RECIPES[name].read_text())["model"].get("quantization")
    return replace(Backbone("embedded", quantisation=bits and Quantisation(bits)), **changed)


def method_of(name: str) -> Method:
    """The recipe's method, with the recipe's own arguments."""
    stated = yaml.safe_load(RECIPES[name].read_text())["model"]["method"]
    made: Method = getattr(methods, stated["class_path"].rpartition(".")[2])(**stated.get("init_args") or {})
    return made


def batch(number: int = 0, rows: int = 4, words: int = 8000) -> dict[str, Tensor]:
    """A batch of random tokens, the last row padded by half."""
    tokens = torch.randint(5, words, (rows, 16), generator=torch.Generator().manual_seed(number))
    mask = torch.ones_like(tokens)
    mask[-1, 8:] = 0
    return {"input_ids": tokens, "attention_mask": mask}


def logits(model: nn.Module) -> Tensor:
    """What the model answers."""
    model.eval()
    with torch.no_grad():
        scores: Tensor = model(**batch()).logits
    return scores


def loss(model: nn.Module, batch: Any) -> Tensor:
    """The training loss without what the method adds."""
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return nn.functional.cross_entropy(outputs.logits, LABELS.repeat(len(outputs.logits) // len(LABELS)))


def adapted(name: str, on: Backbone, seed: int, checkpointing: bool = False) -> tuple[Method, Any]:
    """A recipe's model before training, with its start if it has one."""
    torch.manual_seed(seed)
    method = method_of(name)
    pretrained = method.load_backbone(on, num_labels=2)
    if checkpointing:
        recompute_activations(pretrained)
    model = method.adapt(pretrained)
    if method.batches_to_start_from:
        method.start_from(model, _start(name, on, method, model))
    return method, model


_STARTS: dict[tuple[str, bool], dict[str, Any]] = {}


def _start(name: str, on: Backbone, method: Method, model: Any) -> dict[str, Any]:
    """The start that a method computes from eight batches; EVA takes several seconds, so it is kept."""
    key = name, on.quantisation is None
    if key not in _STARTS:
        # Few words, as in a language: the directions of EVA come to rest.
        batches = [batch(number, rows=16, words=60) | {"labels": LABELS.repeat(4)} for number in range(8)]
        _STARTS[key] = method.compute_start(model, TrainingSample(batches, loss, torch.device("cpu"), nullcontext))
    return _STARTS[key]


def made(name: str, seed: int = 0) -> Made:
    """A recipe ready to be trained."""
    method, model = adapted(name, backbone(name), seed)
    method.before_training(model, STEPS)
    return Made(method, model, _optimizer(method, model))


def _optimizer(method: Method, model: nn.Module) -> torch.optim.Optimizer:
    groups = [
        {"params": [parameter], "lr": 1e-3 * method.rate_factor(name, parameter)}
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    return torch.optim.AdamW(groups)


def train(run: Made, first: int = 1, last: int = STEPS) -> list[float]:
    """Takes the steps from the first to the last as the module does; dropout draws as a resumed run draws it."""
    losses = []
    for step in range(first, last + 1):
        torch.manual_seed(100 + step)
        own = loss(run.model.train(), batch(step))
        extra = run.method.extra_loss(run.model)
        (own if extra is None else own + extra).backward()
        run.optimizer.step()
        run.method.after_step(run.model, step)
        run.optimizer.zero_grad()
        losses.append(own.item())
    return losses


def saved(run: Made) -> dict[str, Any]:
    """What a checkpoint holds."""
    names = set(trainable_names(run.model))
    return {
        "weights": {name: value.clone() for name, value in run.model.state_dict().items() if name in names},
        "method": run.method.state(run.model),
        "optimizer": run.optimizer.state_dict(),
    }


def rebuilt(name: str, checkpoint: dict[str, Any], seed: int = 999) -> Made:
    """A recipe's model from a checkpoint, under another seed."""
    torch.manual_seed(seed)
    method = method_of(name)
    on = backbone(name)
    model: Any = method.adapt(method.load_backbone(on, num_labels=2))
    if checkpoint["method"]:
        if method.rebuilds_for(checkpoint["method"]):
            model = method.adapt(method.load_backbone(on, num_labels=2))
        method.restore(model, checkpoint["method"])
    assert not model.load_state_dict(checkpoint["weights"], strict=False).unexpected_keys
    method.before_training(model, STEPS)
    optimizer = _optimizer(method, model)
    optimizer.load_state_dict(checkpoint["optimizer"])
    return Made(method, model, optimizer)


@dataclass
class Trained:
    """A run of all steps: before it, in its middle and after it."""

    run: Made
    trainable: set[str]
    before: dict[str, Tensor]
    middle: dict[str, Any]
    losses: list[float]


@functools.lru_cache(maxsize=1)
def trained(name: str) -> Trained:
    """Trains a recipe's model; the checks of one row share it."""
    run = made(name)
    ids = {id(parameter) for parameter in run.model.parameters() if parameter.requires_grad}
    # Some types share a tensor between layers: by its other names it is no parameter, but it moves.
    names = {key for key, value in run.model.named_parameters(remove_duplicate=False) if id(value) in ids}
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    losses = train(run, last=STEPS // 2)
    middle = copy.deepcopy(saved(run))
    return Trained(run, names, before, middle, losses + train(run, first=STEPS // 2 + 1))


def refused(refusal: UserError, reason: str) -> str:
    """A combination that cannot be is refused in a line that says why."""
    assert reason in str(refusal)
    assert "\n" not in str(refusal)
    return REFUSED


def trains_alone(name: str) -> str:
    """Steps move what trains and nothing else, some of it in the encoder, and the loss stays a number."""
    done = trained(name)
    moved = {key for key, value in done.run.model.state_dict().items() if not torch.equal(value, done.before[key])}
    assert moved <= done.trainable, sorted(moved - done.trainable)[:3]
    assert any("classifier" in key for key in moved)
    assert bool([key for key in moved if "classifier" not in key]) == (name != "head")
    assert all(math.isfinite(value) for value in done.losses)
    return YES


def counts(name: str) -> str:
    """Head and total are the backbone's own; what trains is the head and the adapter."""
    run = trained(name).run
    found = count_parameters(run.model)
    plain = backbone(name, quantisation=None).load(num_labels=2)
    assert (found.head, found.total) == (HEAD, sum(parameter.numel() for parameter in plain.parameters()))
    if name == "full":
        assert found.trainable == found.total
    else:
        assert found.trainable == found.head + found.adapter
        assert (found.adapter > 0) == (name != "head")
    assert run.method.name == name.removeprefix("q" if name in ("qdora", "qvera", "qmiss") else "")
    return YES


def gradients(name: str) -> str:
    """Everything that trains gets a gradient; recomputed activations give the same one."""
    found: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        try:
            _, model = adapted(name, backbone(name), 0, checkpointing)
        except UserError as refusal:
            return refused(refusal, "gets no gradient where activations are computed again")
        torch.manual_seed(3)
        loss(model.train(), batch()).backward()
        found.append({key: value.grad for key, value in model.named_parameters() if value.grad is not None})
        if not checkpointing:
            assert found[0].keys() == set(trainable_names(model))
    plain, recomputed = found
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[key], recomputed[key]) for key in plain)
    return YES


def rebuilds(name: str) -> str:
    """A checkpoint answers the same under another seed."""
    run = trained(name).run
    assert torch.equal(logits(rebuilt(name, saved(run)).model), logits(run.model))
    return YES


def resumes(name: str) -> str:
    """A run that stopped in the middle ends with the bits of one that did not, its method's own state included."""
    done = trained(name)
    again = rebuilt(name, done.middle)
    assert train(again, first=STEPS // 2 + 1) == done.losses[STEPS // 2 :]
    expected = saved(done.run)
    assert all(torch.equal(value, saved(again)["weights"][key]) for key, value in expected["weights"].items())
    assert again.method.findings(again.model) == done.run.method.findings(done.run.model)
    return YES


def beside_nf4(name: str) -> str:
    """Trains beside layers in four bits, or is refused in a line."""
    # QLoRA packs the layers itself.
    on = backbone(name, quantisation=None if name == "qlora" else Quantisation("nf4"))
    try:
        method, model = adapted(name, on, 0)
    except UserError as refusal:
        return refused(refusal, "nf4")
    method.before_training(model, STEPS)
    losses = train(Made(method, model, _optimizer(method, model)), last=2)
    assert all(math.isfinite(value) for value in losses)
    return YES


CHECKS: dict[str, Callable[[str], str]] = {
    "trains alone": trains_alone,
    "counts": counts,
    "gradients": gradients,
    "rebuilt": rebuilds,
    "resumed": resumes,
    "beside `nf4`": beside_nf4,
}


def row(name: str) -> str:
    """A recipe's row; a check that fails raises."""
    return f"| `{name}` | {' | '.join(check(name) for check in CHECKS.values())} |"


def table_head() -> list[str]:
    """The table's head."""
    return [f"| recipe | {' | '.join(CHECKS)} |", f"| --- |{' :---: |' * len(CHECKS)}"]


if __name__ == "__main__":
    print("\n".join(table_head()))
    for recipe in sys.argv[1:] or RECIPES:
        print(row(recipe), flush=True)
