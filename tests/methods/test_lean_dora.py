"""DoRA's layer beside weights in floats computes what PEFT's does, and a compiler follows it."""

import copy

import pytest
import torch

from peft_lightning.methods.lean_dora import LeanDoRA
from peft_lightning.methods.lean_layers import take_lean_layers
from tests.methods.lora_layers import INPUTS, adapted, results


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_a_step_is_pefts_to_the_bit(kind: str, dropout: float) -> None:
    theirs = adapted(kind, "cpu", use_dora=True, lora_dropout=dropout)
    ours = copy.deepcopy(theirs)
    take_lean_layers(ours)
    assert any(type(module) is LeanDoRA for module in ours.modules())
    x = torch.randn(3, 7, INPUTS)
    for mine, pefts in zip(results(ours, x), results(theirs, x), strict=True):
        assert torch.equal(mine, pefts)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_a_compiled_layer_is_one_graph(dropout: float) -> None:
    model = adapted("bf16", "cpu", use_dora=True, lora_dropout=dropout)
    take_lean_layers(model)
    x = torch.randn(7, INPUTS)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x).isfinite().all()


def test_a_layer_that_is_merged_answers_the_same() -> None:
    model = adapted("fp32", "cpu", use_dora=True)
    take_lean_layers(model)
    x = torch.randn(7, INPUTS)
    before = model.eval()(x)
    model[0].merge()  # type: ignore[operator]
    torch.testing.assert_close(model(x), before)
