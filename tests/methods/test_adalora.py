"""AdaLoRA's reallocation is PEFT's, for all matrices of a shape at a time."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import PeftModel
from torch import nn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import PEFT
from peft_lightning.methods.parameters import count_parameters, trainable_names
from tests.methods.test_contract import LABELS, WIDTH, GetBackbone, logits
from tests.methods.tiny_backbones import batch

STEPS = 9
CONFIG: dict[str, Any] = {
    "peft_type": "ADALORA",
    "init_r": 6,
    "target_r": 2,
    "tinit": 2,
    "tfinal": 2,
    "deltaT": 2,
    "target_modules": ["query", "value", "intermediate.dense"],
}


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


def made(backbone: Backbone) -> tuple[PEFT, Any]:
    torch.manual_seed(0)
    method = PEFT(CONFIG)
    model = method.adapt(method.load_backbone(backbone, num_labels=3))
    method.before_training(model, STEPS)
    return method, model


def step_of(method: PEFT, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    loss = nn.functional.cross_entropy(model.eval()(**batch()).logits, LABELS)
    (loss + cast("torch.Tensor", method.extra_loss(model))).backward()
    optimizer.step()


def test_every_step_keeps_the_ranks_that_peft_s_own_allocator_keeps(backbone: Backbone) -> None:
    method, ours = made(backbone)
    _, theirs = made(backbone)
    optimizers = [torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=1e-2) for m in (ours, theirs)]
    patterns = []
    for step in range(1, STEPS + 1):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            step_of(method, model, optimizer)
        method.after_step(ours, step)
        theirs.base_model.update_and_allocate(step)
        state = method.state(ours)["adalora"]
        allocator = theirs.base_model.rankallocator
        for mean in ("exp_avg_ipt", "exp_avg_unc"):
            expected = getattr(allocator, mean)
            assert state["memory"][mean].keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(state["memory"][mean][name], value, rtol=1e-6, atol=1e-12)
        expected = theirs.peft_config["default"].rank_pattern
        assert (state["rank_pattern"] or None) == (expected or None)
        assert (ours.peft_config["default"].rank_pattern or None) == (expected or None)
        for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-6, msg=name)
        for optimizer in optimizers:
            optimizer.zero_grad()
        patterns.append(state["rank_pattern"])
        if step == 4:  # a resume in the middle of the reallocation
            method, copy = made(backbone)
            copy.load_state_dict(ours.state_dict())
            method.restore(copy, {"adalora": state})
            state_of_optimizer = optimizers[0].state_dict()
            ours = copy
            optimizers[0] = torch.optim.AdamW([p for p in ours.parameters() if p.requires_grad], lr=1e-2)
            optimizers[0].load_state_dict(state_of_optimizer)
    assert not patterns[1]
    assert patterns[3] != patterns[6]
    assert sum(sum(kept) for kept in patterns[-1].values()) == 2 * len(patterns[-1])


def test_a_run_of_one_step_drops_no_rank(backbone: Backbone) -> None:
    torch.manual_seed(0)
    method = PEFT({**CONFIG, "tinit": 0, "tfinal": 0})
    model = method.adapt(method.load_backbone(backbone, num_labels=3))
    method.before_training(model, 1)
    step_of(method, model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad]))
    method.after_step(model, 1)
    assert method.findings(model) == []


def test_a_schedule_says_how_many_steps_it_needs(backbone: Backbone) -> None:
    method, model = made(backbone)
    assert method.least_steps == 5
    method.before_training(model, method.least_steps)
    with pytest.raises(UserError, match="this run has 4"):
        method.before_training(model, method.least_steps - 1)
    assert PEFT({"peft_type": "VERA"}).least_steps == 1


@pytest.mark.parametrize("bits", [None, "nf4", "int8"])
def test_what_updates_are_divided_by_stays_the_first_rank(bits: Any, tiny_backbone: GetBackbone) -> None:
    """PEFT's files leave it out: had it been trained, an export would answer otherwise than the run."""
    narrow = tiny_backbone(width=WIDTH, dtype="bfloat16")
    _, model = made(replace(narrow, quantisation=bits and Quantisation(bits)))
    divisors = {name: value for name, value in model.named_parameters() if ".ranknum." in name}
    assert len(divisors) == 2 * len(CONFIG["target_modules"])
    assert not {*divisors} & {*trainable_names(model)}
    assert all(torch.equal(value, torch.tensor([6.0])) for value in divisors.values())
    assert count_parameters(model).adapter == 2 * (2 * 6 * (2 * WIDTH + 1) + 6 * (WIDTH + 48 + 1))


def test_a_layer_without_a_rank_is_saved_without_a_word_and_loads(backbone: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = PEFT({**CONFIG, "target_r": 1})
    model: Any = method.adapt(method.load_backbone(backbone, num_labels=3))
    method.before_training(model, STEPS)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(1, STEPS + 1):
        step_of(method, model, optimizer)
        method.after_step(model, step)
        optimizer.zero_grad()
    (ranks,) = method.findings(model)
    assert re.search(r" 0\b", ranks)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        method.save_adapter(model, tmp_path, lambda: model)
    loaded = PeftModel.from_pretrained(backbone.load(num_labels=3), str(tmp_path))
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=1e-6)


def test_a_mean_rank_above_the_one_that_layers_begin_with_is_refused() -> None:
    with pytest.raises(UserError, match="target_r 8 is above its init_r 6"):
        PEFT({**CONFIG, "target_r": 8})
    PEFT({**CONFIG, "target_r": 6})
