"""The method that a PEFT configuration makes: its words, its seeds, AdaLoRA's own part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.backbone.architectures import recompute_activations
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import PEFT, LoRA
from tests.methods.test_contract import WIDTH, GetBackbone, logits
from tests.methods.test_peft_types import adapted, train


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"peft_type": "VERRA"}, "PEFT has no type 'VERRA': did you mean VERA? use one of ADALORA, "),
        ({"r": 8}, "the method has no type: name it with peft_type='VERA'"),
        ({"peft_type": "VERA", "rank": 8}, "VeraConfig has no argument 'rank': VERA takes r, "),
        ({"peft_type": "VERA", "r": "8"}, "VeraConfig: r is '8', and has to be of type int"),
        ({"peft_type": "XLORA"}, "XLORA cannot classify texts (it mixes LoRA adapters"),
        ({"peft_type": "P_TUNING"}, "P_TUNING needs the number of its virtual tokens: use num_virtual_tokens=20"),
        ({"peft_type": "LORA", "eva_config": {"rho": 1.0}}, "eva_config has no effect under another start: use "),
        (
            {"peft_type": "LORA", "init_lora_weights": "corda", "corda_config": {"cache_file": "c.pt"}},
            "corda_config.cache_file could hold the start of other data",
        ),
        ({"peft_type": "LORA", "init_lora_weights": "loftq"}, "loftq is refused: PEFT computes it on a GPU alone"),
        ({"peft_type": "PVERA", "generator_seed": 1}, "generator_seed would make a run that cannot be resumed"),
        ("nowhere.json", "cannot read nowhere.json"),
        ("~no-such-user/adapter", "cannot read ~no-such-user/adapter"),
    ],
)
def test_a_wrong_configuration_is_refused_before_a_model_is_loaded(config: Any, line: str) -> None:
    with pytest.raises(UserError) as refusal:
        PEFT(config)
    assert line in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_2", "corda", "lora_ga", "mica"])
def test_a_start_taken_off_the_weights_is_refused_beside_packed_ones(start: str, backbone: Backbone) -> None:
    method = PEFT({"peft_type": "LORA", "init_lora_weights": start})
    packed = replace(backbone, quantisation=Quantisation("nf4"))
    with pytest.raises(
        UserError, match=f"^{start} takes its start off the weights themselves, and layers in nf4"
    ) as no:
        method.load_backbone(packed, num_labels=3)
    assert "\n" not in str(no.value)


def test_no_batches_to_start_from_are_refused() -> None:
    with pytest.raises(UserError, match=r"start_batches is 0: .*start_batches.* takes 1 or more"):
        PEFT({"peft_type": "LORA", "init_lora_weights": "eva"}, start_batches=0)


def test_arguments_that_do_not_fit_the_architecture_are_refused_in_a_line(backbone: Backbone) -> None:
    method = PEFT({"peft_type": "C3A", "block_size": 48})
    with pytest.raises(UserError, match=r"C3A cannot adapt roberta with these arguments .*block size"):
        method.adapt(method.load_backbone(backbone, num_labels=3))


def test_prompts_are_refused_where_activations_are_computed_again(backbone: Backbone) -> None:
    method = PEFT({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4})
    model = method.load_backbone(backbone, num_labels=3)
    recompute_activations(model)
    with pytest.raises(UserError, match=r"PREFIX_TUNING gets no gradient .*: use gradient_checkpointing=False"):
        method.adapt(model)


def test_a_file_that_peft_wrote_is_the_same_method(backbone: Backbone, tmp_path: Path) -> None:
    _, model = adapted("MISS", backbone)
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written["modules_to_save"]
    torch.manual_seed(0)
    other = PEFT(str(tmp_path))
    again = other.adapt(other.load_backbone(backbone, num_labels=3))
    assert other.name == "miss"
    assert torch.equal(logits(again), logits(model))


def test_other_trained_modules_than_the_head_are_refused(backbone: Backbone) -> None:
    method = PEFT({"peft_type": "LORA", "modules_to_save": ["classifier", "embeddings"]})
    with pytest.raises(UserError, match="modules_to_save names embeddings"):
        method.adapt(method.load_backbone(backbone, num_labels=3))


def test_lora_by_its_configuration_trains_what_the_class_trains(backbone: Backbone) -> None:
    words = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]}
    torch.manual_seed(0)
    method = PEFT(words)
    model = method.adapt(method.load_backbone(backbone, num_labels=3))
    own = LoRA(r=4, lora_alpha=8, target_modules=["query", "value"])
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in own.adapt(own.load_backbone(backbone, num_labels=3)).named_parameters()
    }
    assert words["target_modules"] == ["query", "value"]


def test_an_architecture_that_peft_has_no_choice_for_is_adapted_everywhere(tiny_backbone: GetBackbone) -> None:
    method = PEFT({"peft_type": "VERA", "r": 8})
    model = method.adapt(method.load_backbone(tiny_backbone("modernbert"), num_labels=3))
    assert method.notes[-1] == (
        "PEFT has no choice of layers for VERA in modernbert: all linear layers of the encoder are adapted"
    )
    assert any("Wqkv" in name and "vera" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("peft_type", ["VERA", "FOURIERFT"])
def test_what_is_drawn_and_never_trained_follows_the_seed_of_the_run(peft_type: str, backbone: Backbone) -> None:
    def answers(seed: int) -> torch.Tensor:
        _, model = adapted(peft_type, backbone, seed=seed)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                torch.nn.init.constant_(parameter, 0.1 if "classifier" not in name else 0.01)
        return logits(model)

    assert torch.equal(answers(1), answers(1))
    assert not torch.equal(answers(1), answers(2))


class TestAdaLoRA:
    def test_ranks_fall_to_the_budget_and_are_told(self, backbone: Backbone) -> None:
        method, model = adapted("ADALORA", backbone)
        assert method.findings(model) == []
        train(method, model)
        (finding,) = method.findings(model)
        ranks = [int(part.rsplit(" ", 1)[1]) for part in finding.removeprefix("ranks kept: ").split(", ")]
        assert sum(ranks) == 3 * len(ranks)
        assert len(set(ranks)) > 1

    def test_the_penalty_is_peft_s_own(self, backbone: Backbone) -> None:
        method, model = adapted("ADALORA", backbone)
        from tests.methods.tiny_backbones import batch

        labels = torch.tensor([0, 1, 2, 1])
        output = model.eval()(**batch(), labels=labels)
        expected = output.loss - torch.nn.functional.cross_entropy(output.logits, labels)
        penalty = method.extra_loss(model)
        assert penalty is not None
        assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_a_resumed_reallocation_ends_with_the_same_ranks(self, backbone: Backbone) -> None:
        method, model = adapted("ADALORA", backbone)
        train(method, model, steps=3)
        state = method.state(model)
        again, copy = adapted("ADALORA", backbone)
        copy.load_state_dict(model.state_dict())
        again.restore(copy, state)
        assert again.state(copy)["adalora"]["rank_pattern"] == state["adalora"]["rank_pattern"]
        memory = again.state(copy)["adalora"]["memory"]["exp_avg_ipt"]
        assert memory
        assert all(
            torch.equal(memory[name], value) for name, value in state["adalora"]["memory"]["exp_avg_ipt"].items()
        )

    def test_a_run_too_short_for_the_schedule_is_refused(self, backbone: Backbone) -> None:
        method, model = adapted("ADALORA", backbone)
        with pytest.raises(UserError, match="this run has 2: choose smaller tinit and tfinal"):
            method.before_training(model, 2)
