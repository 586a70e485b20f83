"""Starts that are computed from training data are PEFT's own, leave no trace, and are rebuilt from a checkpoint."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import nullcontext
from typing import Any, cast

import pytest
import torch
from torch import nn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.errors import UserError
from peft_lightning.methods import PEFT
from peft_lightning.methods.data_start import TrainingSample
from peft_lightning.methods.parameters import count_parameters, trainable_names
from tests.methods.test_contract import WIDTH, GetBackbone, logits, train_step
from tests.methods.tiny_backbones import VOCABULARY
from tests.samples import mostly_slow

STARTS = ("corda", "eva", "lora_ga")
WORDS = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value", "intermediate.dense"]}


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


def batches(count: int = 6, rows: int = 4) -> list[dict[str, torch.Tensor]]:
    """Different batches; the last row of each is padded."""
    generator = torch.Generator().manual_seed(7)
    made = []
    for _ in range(count):
        tokens = torch.randint(5, VOCABULARY, (rows, 12), generator=generator)
        mask = torch.ones_like(tokens)
        mask[-1, 7:] = 0
        made.append({"input_ids": tokens, "attention_mask": mask, "labels": torch.arange(rows) % 3})
    return made


def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return nn.functional.cross_entropy(outputs.logits, batch["labels"])


def sample(count: int = 6) -> TrainingSample:
    return TrainingSample(batches(count), cast("Any", loss), torch.device("cpu"), nullcontext)


def at_usual_start(start: str, backbone: Backbone, seed: int = 0, **more: Any) -> tuple[PEFT, Any]:
    torch.manual_seed(seed)
    method = PEFT({**WORDS, "init_lora_weights": start, **more})
    return method, method.adapt(method.load_backbone(backbone, num_labels=3))


def started(start: str, backbone: Backbone, seed: int = 0, **more: Any) -> tuple[PEFT, Any]:
    method, model = at_usual_start(start, backbone, seed, **more)
    method.start_from(model, method.compute_start(model, sample()))
    return method, model


def adapters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if "lora_" in name or "base_layer" in name}


def peft_s_own(start: str, backbone: Backbone) -> dict[str, torch.Tensor]:
    """What PEFT makes of the bare model, called as its documentation says."""
    from peft import LoraConfig, get_peft_model, initialize_lora_eva_weights
    from peft.tuners.lora import preprocess_loraga
    from peft.tuners.lora.config import CordaConfig, EvaConfig, LoraGAConfig
    from peft.tuners.lora.corda import preprocess_corda

    torch.manual_seed(0)
    method = PEFT(WORDS)
    model = cast("Any", method.load_backbone(backbone, num_labels=3))
    configs: dict[str, dict[str, Any]] = {
        "corda": {"corda_config": CordaConfig()},
        "eva": {"eva_config": EvaConfig()},
        "lora_ga": {"lora_ga_config": LoraGAConfig()},
    }
    words = {name: value for name, value in WORDS.items() if name != "peft_type"}
    config = LoraConfig(init_lora_weights=cast("Any", start), **cast("Any", {**copy.deepcopy(words), **configs[start]}))
    inputs = [{name: batch[name] for name in ("input_ids", "attention_mask")} for batch in batches()]
    torch.manual_seed(0)
    if start == "corda":
        texts = [
            {"input_ids": tokens[mask.bool()][None]}
            for batch in inputs
            for tokens, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]

        def answer() -> None:
            for text in texts:
                model(**text)

        preprocess_corda(model, config, answer)
    if start == "lora_ga":

        def differentiate() -> None:
            for batch in batches():
                loss(model, batch).backward()

        preprocess_loraga(model, config, differentiate)
    adapted = get_peft_model(model, config)
    if start == "eva":
        initialize_lora_eva_weights(adapted, inputs, show_progress_bar=False)
    return adapters(adapted)


@pytest.mark.parametrize("start", mostly_slow(STARTS, fast=["lora_ga"]))
def test_the_start_is_peft_s_own(start: str, backbone: Backbone) -> None:
    _, model = started(start, backbone)
    own, theirs = adapters(model), peft_s_own(start, backbone)
    assert own.keys() == theirs.keys()
    for name, value in theirs.items():
        if start == "lora_ga":
            # Its decomposition is a random one, and dropout is on: alike in size, not in bits.
            torch.testing.assert_close(own[name].norm(), value.norm(), rtol=0.5, atol=1e-4, msg=name)
        else:
            torch.testing.assert_close(own[name], value, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("start", mostly_slow(STARTS, fast=["lora_ga"]))
def test_the_model_answers_at_first_as_the_one_without_adapters(start: str, backbone: Backbone) -> None:
    method, model = at_usual_start(start, backbone)
    before, usual = logits(model), {name: value.clone() for name, value in adapters(model).items()}
    method.start_from(model, method.compute_start(model, sample()))
    torch.testing.assert_close(logits(model), before, rtol=0, atol=1e-5)
    moved = {name for name, value in adapters(model).items() if not torch.equal(value, usual.get(name, value[:0]))}
    assert moved >= {name for name in adapters(model) if "lora_A" in name}
    assert {name for name in adapters(model) if "base_layer.weight" in name and name in moved} == (
        set() if start == "eva" else {name for name in adapters(model) if "base_layer.weight" in name}
    )


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_a_start_is_found_under_autocast_too(start: str, backbone: Backbone) -> None:
    method, model = at_usual_start(start, backbone)
    mixed = dataclasses.replace(sample(), context=lambda: torch.autocast("cpu", torch.bfloat16))
    method.start_from(model, method.compute_start(model, mixed))
    assert torch.isfinite(logits(model)).all()


@pytest.mark.parametrize("start", mostly_slow(STARTS, fast=["lora_ga"]))
def test_a_start_leaves_no_trace_in_the_random_numbers_and_is_the_same_again(start: str, backbone: Backbone) -> None:
    method, model = at_usual_start(start, backbone)
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    was_training, trained = model.training, trainable_names(model)
    first = method.compute_start(model, sample())
    method.start_from(model, first)
    assert torch.equal(torch.rand(1), expected)
    assert model.training == was_training
    assert {name for name in trained if "lora" not in name} <= set(trainable_names(model))
    again, other = at_usual_start(start, backbone)
    torch.manual_seed(12)
    again.start_from(other, again.compute_start(other, sample()))
    assert all(torch.equal(value, adapters(other)[name]) for name, value in adapters(model).items())


@pytest.mark.parametrize("start", mostly_slow(STARTS, fast=["lora_ga"]))
def test_another_seed_a_checkpoint_and_the_trained_weights_rebuild_it(start: str, backbone: Backbone) -> None:
    method, model = started(start, backbone, seed=1)
    assert method.batches_to_start_from == 0
    train_step(model)
    saved = {name: model.state_dict()[name].clone() for name in trainable_names(model)}
    state = method.state(model)
    again, _ = at_usual_start(start, backbone, seed=2)
    assert again.rebuilds_for(state)
    rebuilt = again.adapt(again.load_backbone(backbone, num_labels=3))
    assert not rebuilt.load_state_dict(saved, strict=False).unexpected_keys
    again.restore(rebuilt, state)
    assert torch.equal(logits(rebuilt), logits(model))
    assert again.batches_to_start_from == 0
    assert again.findings(rebuilt) == method.findings(model)
    assert not again.rebuilds_for(again.state(rebuilt)), "the same start is not built twice"


OUTPUTS = ["query", "output.dense"]


def test_eva_gives_ranks_away_and_the_count_follows(backbone: Backbone) -> None:
    method, model = started("eva", backbone, r=3, target_modules=OUTPUTS)
    ranks = method.state(model)["start"]["ranks"]
    assert sum(ranks.values()) == 3 * len(ranks)
    assert len(set(ranks.values())) > 2
    inputs = {name: 48 if name.endswith(".output.dense") and "attention" not in name else WIDTH for name in ranks}
    assert count_parameters(model).adapter == sum(rank * (inputs[name] + WIDTH) for name, rank in ranks.items())
    assert any("EVA gave ranks: " in finding for finding in method.findings(model))


@pytest.mark.slow
def test_a_layer_that_eva_gives_no_rank_has_no_adapter_in_a_rebuilt_model_either(backbone: Backbone) -> None:
    method, model = at_usual_start("eva", backbone)
    computed = method.compute_start(model, sample())
    name = "base_model.model.roberta.encoder.layer.1.attention.self.value"
    computed["directions"][name] = computed["directions"][name][:0]
    method.start_from(model, computed)
    assert isinstance(model.get_submodule(name), nn.Linear)
    train_step(model)
    saved = {name: model.state_dict()[name].clone() for name in trainable_names(model)}
    again, _ = at_usual_start("eva", backbone, seed=2)
    assert again.rebuilds_for(method.state(model))
    rebuilt = again.adapt(again.load_backbone(backbone, num_labels=3))
    assert trainable_names(rebuilt) == trainable_names(model)
    rebuilt.load_state_dict(saved, strict=False)
    assert torch.equal(logits(rebuilt), logits(model))


def test_a_start_that_was_never_computed_is_refused_and_not_trained(backbone: Backbone) -> None:
    method, model = at_usual_start("eva", backbone)
    assert method.batches_to_start_from == 32
    with pytest.raises(UserError, match=r"eva was given no training batches to start from: call TextClassifier\.start"):
        method.extra_loss(model)


def test_eva_s_batches_that_are_too_small_end_in_a_line(backbone: Backbone) -> None:
    method, model = at_usual_start("eva", backbone, r=32)
    short = TrainingSample(batches(1, rows=2), cast("Any", loss), torch.device("cpu"), nullcontext)
    with pytest.raises(UserError, match="not come to rest in 20 passes over 1 training batches: use more with start_b"):
        method.compute_start(model, short)
    with pytest.raises(UserError, match="train on more texts with n_train"):
        method.compute_start(model, dataclasses.replace(short, asked=32))


@pytest.mark.parametrize(("start", "rank", "mend"), [("lora_ga", 33, 32), ("corda", 65, 64)])
def test_a_rank_that_a_layer_has_no_components_for_ends_in_a_line(
    start: str, rank: int, mend: int, backbone: Backbone
) -> None:
    method, model = at_usual_start(start, backbone, r=rank)
    with pytest.raises(UserError, match=rf"has 64: use r={mend} or less"):
        method.compute_start(model, sample(1))
