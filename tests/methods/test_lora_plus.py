"""LoRA+ gives B another learning rate than A: PEFT's groups, in every optimiser, under every schedule."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from peft_lightning.backbone.loading import Backbone
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, LoRA, QLoRA
from peft_lightning.optim.optimizers import OptimizerName, ScheduleName, build_optimizer, build_schedule
from tests.methods.test_contract import LABELS, WIDTH, GetBackbone, adapted
from tests.methods.tiny_backbones import batch
from tests.samples import mostly_slow

RATE, RATIO, DECAY = 1e-3, 16.0, 0.1


@pytest.fixture
def backbone(tiny_backbone: GetBackbone) -> Backbone:
    return tiny_backbone(width=WIDTH)


def optimizer_of(method: LoRA, model: nn.Module, name: OptimizerName = "adamw") -> torch.optim.Optimizer:
    optimizer, _ = build_optimizer(
        name, model.named_parameters(), learning_rate=RATE, weight_decay=DECAY, rate_factor=method.rate_factor
    )
    return optimizer


def rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """The learning rate and the weight decay of every trained weight."""
    groups = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    return {name: groups[id(p)] for name, p in model.named_parameters() if p.requires_grad}


def trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    for _ in range(3):
        nn.functional.cross_entropy(model.eval()(**batch()).logits, LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("use_dora", mostly_slow([False, True], fast=[True]))
def test_rates_and_steps_are_those_of_peft_s_optimiser(use_dora: bool, backbone: Backbone) -> None:
    from peft.optimizers import create_loraplus_optimizer

    method = LoRA(lora_dropout=0, loraplus_lr_ratio=RATIO, use_dora=use_dora)
    ours, theirs = adapted(method, backbone), adapted(method, backbone)
    own = optimizer_of(method, ours)
    reference = create_loraplus_optimizer(
        theirs,  # type: ignore[arg-type]
        torch.optim.AdamW,
        lr=RATE,
        loraplus_lr_ratio=RATIO,
        loraplus_weight_decay=DECAY,
        fused=True,
    )
    found = rates(ours, own)
    assert found == rates(theirs, reference)
    assert {rate for name, (rate, _) in found.items() if "lora_A" in name} == {RATE}
    assert {rate for name, (rate, _) in found.items() if "lora_B" in name} == {RATE * RATIO}
    expected = trained(theirs, reference)
    for name, value in trained(ours, own).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("schedule", mostly_slow(get_args(ScheduleName), fast=["linear"]))
@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimiser_and_schedule_keeps_the_ratio(
    name: OptimizerName, schedule: ScheduleName, backbone: Backbone
) -> None:
    method = LoRA(loraplus_lr_ratio=RATIO)
    model = adapted(method, backbone)
    optimizer = optimizer_of(method, model, name)
    scheduler = build_schedule(schedule, optimizer, warmup_steps=2, total_steps=6)
    seen: list[float] = []
    for _ in range(5):
        nn.functional.cross_entropy(model(**batch()).logits, LABELS).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        found = rates(model, optimizer)
        (low,) = {rate for key, (rate, _) in found.items() if "lora_A" in key}
        (high,) = {rate for key, (rate, _) in found.items() if "lora_B" in key}
        assert high == pytest.approx(RATIO * low)
        seen.append(low)
    # The first group is what the record's curve shows: the learning rate itself.
    assert optimizer.param_groups[0]["lr"] == seen[-1]
    assert max(seen) == RATE


def test_without_a_ratio_the_groups_are_as_before(backbone: Backbone) -> None:
    model = adapted(LoRA(), backbone)
    groups = optimizer_of(LoRA(), model).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(RATE, DECAY), (RATE, 0.0)]
    assert IA3().rate_factor("any", nn.Parameter(torch.zeros(3))) == 1


def test_a_ratio_that_is_no_ratio_is_refused() -> None:
    for ratio in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=rf"loraplus_lr_ratio is {ratio}; it must be above 0"):
            LoRA(loraplus_lr_ratio=ratio)
    assert QLoRA(loraplus_lr_ratio=4.0).loraplus_lr_ratio == 4
