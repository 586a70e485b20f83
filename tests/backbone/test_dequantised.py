from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from peft_lightning.backbone.quantised import Quantisation, dequantise_where_packed, packed_as
from tests.methods.conftest import tiny_backbone as tiny_backbone
from tests.methods.test_contract import WIDTH, GetBackbone, logits


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_plain_layers_hold_the_values_that_the_packed_ones_stand_for(bits: str, tiny_backbone: GetBackbone) -> None:
    backbone = tiny_backbone(width=WIDTH)
    model = replace(backbone, quantisation=Quantisation(bits)).load(3)  # type: ignore[arg-type]
    plain, packed = backbone.load(3), logits(model)
    assert packed_as(model) is not None
    dequantise_where_packed(model)
    assert {type(module).__name__ for module in model.modules() if isinstance(module, nn.Linear)} == {"Linear"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert packed_as(model) is None
    # Eight bits also round what goes into a layer, which plain layers do not.
    assert logits(model) == pytest.approx(packed, abs=1e-6 if bits == "nf4" else 2e-3)
    assert not torch.allclose(
        model.get_parameter("roberta.encoder.layer.0.output.dense.weight"),
        plain.get_parameter("roberta.encoder.layer.0.output.dense.weight"),
        atol=1e-6,
    )


def test_word_embeddings_in_four_bits_are_unpacked_too(tiny_backbone: GetBackbone) -> None:
    backbone = replace(tiny_backbone(width=WIDTH, dtype="smallest"), quantisation=Quantisation("nf4"))
    model = backbone.load(3)
    packed = model.get_input_embeddings()
    tokens = torch.arange(5, 12)
    wanted = packed(tokens).float()
    dequantise_where_packed(model)
    table = model.get_input_embeddings()
    assert type(table) is nn.Embedding
    assert table.weight.dtype == torch.float32
    assert table.padding_idx == packed.padding_idx
    # bf16 rounds what the run looked up.
    assert table(tokens) == pytest.approx(wanted, abs=1e-3)


def test_a_model_that_is_not_quantised_stays_as_it_is(tiny_backbone: GetBackbone) -> None:
    model = tiny_backbone(width=WIDTH).load(3)
    before = {name: id(value) for name, value in model.named_parameters()}
    dequantise_where_packed(model)
    assert {name: id(value) for name, value in model.named_parameters()} == before
