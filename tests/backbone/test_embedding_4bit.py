from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

from peft_lightning.backbone.embedding_4bit import FrozenEmbedding4bit, quantise_word_embeddings
from peft_lightning.backbone.loading import Backbone
from peft_lightning.methods.parameters import logical_numel, stored_bytes
from tests.methods.tiny_backbones import VOCABULARY, save_backbone

WIDTH = 64
Load = Callable[..., nn.Module]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_backbone("roberta", tmp_path_factory.mktemp("roberta"), WIDTH)


def test_words_look_up_what_their_rows_were_rounded_to(folder: Path) -> None:
    model = Backbone(str(folder), dtype="smallest").load(2)
    table = cast("nn.Embedding", model.get_input_embeddings()).weight.detach().float()
    before = torch.get_rng_state()
    assert quantise_word_embeddings(model, "nf4") is None
    assert torch.equal(torch.get_rng_state(), before)
    packed = model.get_input_embeddings()
    assert isinstance(packed, FrozenEmbedding4bit)
    words = torch.tensor([[0, 5, 63], [1, 5, 7]])
    found = packed(words)
    assert found.shape == (2, 3, WIDTH)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found[0, 1], found[1, 1])
    # Sixteen values of a normal distribution: a tenth of the error that a random row would have.
    error = (found.float() - table[words]).norm() / table[words].norm()
    assert 0.01 < error < 0.15


def test_the_table_counts_every_weight_and_takes_what_it_is_stored_in(folder: Path) -> None:
    model = Backbone(str(folder), dtype="smallest").load(2)
    quantise_word_embeddings(model, "nf4")
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    count = VOCABULARY * WIDTH
    assert logical_numel(weight) == count
    # Half a byte a weight, a scale for 64 of them, and the sixteen values.
    assert stored_bytes(weight) == count // 2 + 4 * count // 64 + 4 * 16
    assert not weight.requires_grad


def test_positions_and_token_types_stay(folder: Path) -> None:
    model = Backbone(str(folder), dtype="smallest").load(2)
    quantise_word_embeddings(model, "nf4")
    quantised = [name for name, module in model.named_modules() if isinstance(module, FrozenEmbedding4bit)]
    assert quantised == ["roberta.embeddings.word_embeddings"]


def test_a_checkpoint_can_be_made_of_a_model_that_has_it(folder: Path) -> None:
    model = Backbone(str(folder), dtype="smallest").load(2)
    quantise_word_embeddings(model, "nf4")
    assert model.state_dict()["roberta.embeddings.word_embeddings.weight"].dtype == torch.uint8


def test_a_table_that_another_layer_shares_stays_and_is_noted(folder: Path) -> None:
    model = Backbone(str(folder), dtype="smallest").load(2)
    table = cast("nn.Embedding", model.get_input_embeddings())
    model.get_submodule("roberta").register_module("decoder", nn.Linear(WIDTH, VOCABULARY, bias=False))
    model.get_submodule("roberta.decoder").weight = table.weight
    note = quantise_word_embeddings(model, "nf4")
    assert note is not None
    assert "roberta.decoder.weight" in note
    assert model.get_input_embeddings() is table


def test_a_width_that_is_no_whole_block_stays_and_is_noted(tmp_path: Path) -> None:
    model = Backbone(str(save_backbone("roberta", tmp_path)), dtype="smallest").load(2)
    note = quantise_word_embeddings(model, "nf4")
    assert note is not None
    assert "32 is no multiple of 64" in note
