"""Numbers of any unit are learned: the last layer of the head learns in theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from peft_lightning.backbone.heads import start_head
from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods import LoRA
from peft_lightning.methods.adaptation import load_adapted
from peft_lightning.module.head_rate import rate_in_unit
from peft_lightning.optim.optimizers import build_optimizer
from peft_lightning.task import Regression, SingleLabel
from tests.methods.tiny_backbones import batch, save_backbone


def task_in(*units: float) -> Regression:
    return Regression(tuple(f"y{n}" for n in range(len(units))), means=(0.0,) * len(units), scales=units)


def learned(folder: Path, unit: float) -> torch.Tensor:
    """Answers after twenty steps, in units of the labels' spread."""
    torch.manual_seed(0)
    model, task = Backbone(str(folder)).load(1).eval(), task_in(unit)
    start_head(model, (0.0,), (unit,))
    in_unit = rate_in_unit(model, task)
    optimizer, _ = build_optimizer(
        "adamw", model.named_parameters(), learning_rate=1e-3, rate_factor=lambda name, parameter: in_unit(parameter)
    )
    labels = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]) * unit
    for _ in range(20):
        task.loss(model(**batch()).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        logits: torch.Tensor = model(**batch()).logits
    return logits / unit


@pytest.mark.parametrize("model_type", ["roberta", "bert", "distilbert"])
def test_numbers_of_a_small_unit_are_learned_as_those_of_spread_1(model_type: str, tmp_path: Path) -> None:
    folder = save_backbone(model_type, tmp_path / "backbone")
    expected = learned(folder, 1.0)
    assert expected.flatten().std() > 0.1
    assert torch.allclose(learned(folder, 1e-3), expected, atol=0.02)


@pytest.mark.parametrize(("units", "factor"), [((0.5,), 0.5), ((20.0, 0.01), 0.01), ((1.0,), 1.0), ((20.0,), 1.0)])
def test_the_last_layer_that_is_trained_has_the_rate_and_no_other(
    units: tuple[float, ...], factor: float, tmp_path: Path
) -> None:
    folder = save_backbone("roberta", tmp_path / "backbone")
    model = load_adapted(LoRA(r=2), Backbone(str(folder)), len(units), False, "adamw")
    rate = rate_in_unit(model, task_in(*units))
    rates = {name: rate(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    last = {name for name in rates if "out_proj" in name}
    assert len(last) == 2
    assert {name: value for name, value in rates.items() if value != 1} == dict.fromkeys(
        last if factor < 1 else (), factor
    )


def test_classes_have_no_unit(tmp_path: Path) -> None:
    model = Backbone(str(save_backbone("bert", tmp_path / "backbone"))).load(2)
    rate = rate_in_unit(model, SingleLabel(("a", "b")))
    assert {rate(parameter) for parameter in model.parameters()} == {1.0}
