"""Shapes by name: what they are, and that a decoder is told from an encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from peft_lightning.backbone.locations import EMBEDDED_FOLDER
from peft_lightning.errors import UserError
from side_by_side.backbones import Backbone, find_backbone
from side_by_side.recorded_command import parsed
from side_by_side.shapes import SHAPES, recipes_for, write_shape


@pytest.mark.parametrize(
    ("name", "weights"),
    # As the cards of Qwen/Qwen2.5-0.5B, -1.5B and -7B have it: 0.49, 1.54 and 7.61 billion.
    list(zip(SHAPES, (494_032_768, 1_543_714_304, 7_615_616_512), strict=True)),
)
def test_a_shape_has_as_many_weights_as_the_model_that_it_is_named_for(name: str, weights: int, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(write_shape(name, tmp_path / "shape"))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() == weights


def test_a_shapes_tokenizer_adds_nothing_and_pads_with_a_token_that_ends_no_text(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(write_shape(SHAPES[0], tmp_path / "shape"))
    ids = tokenizer("A film.")["input_ids"]
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert AutoConfig.from_pretrained(tmp_path / "shape").pad_token_id == tokenizer.pad_token_id


def test_each_backbone_is_trained_by_the_recipes_of_its_kind(tmp_path: Path) -> None:
    assert recipes_for(write_shape(SHAPES[0], tmp_path / "shape")) == "decoder"
    assert recipes_for(EMBEDDED_FOLDER) == "study"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--methods", "ia3"], "--methods ia3: configs/decoder/ has lora, qlora, dora, full, 7b-qlora, 7b-qlora-lean"),
        (["--peers", "adapters"], "--peers adapters: a decoder is trained by hf-best, hf-checkpointed, hf-fsdp2, "),
    ],
)
def test_what_trains_no_decoder_is_refused_in_a_line(words: list[str], line: str, tmp_path: Path) -> None:
    asked = parsed(["--reviews", "r", "--shape", SHAPES[0], "--out", "o", *words], None)
    backbone = find_backbone(asked, tmp_path)
    with pytest.raises(UserError) as raised:
        (backbone.methods(asked.methods), backbone.peers(asked.peers))
    assert str(raised.value).startswith(line)
    assert backbone.methods(None) == ["lora", "qlora"]
    assert "ours" in backbone.peers(None)


@pytest.mark.parametrize("option", ["--shape", "--backbone"])
def test_a_backbone_that_is_not_there_is_refused_in_a_line(option: str, tmp_path: Path) -> None:
    asked = parsed(["--reviews", "r", option, str(tmp_path / "away"), "--out", "o"], None)
    with pytest.raises(UserError, match=r"config\.json|no such folder"):
        find_backbone(asked, tmp_path)


def test_what_is_said_of_an_encoder_stays_so_that_its_results_go_on() -> None:
    about = Backbone(EMBEDDED_FOLDER, "study", "random weights", drawn=True).about()
    assert sorted(about) == ["backbone", "config_sha256"]
    decoder = Backbone(EMBEDDED_FOLDER, "decoder", "random weights", drawn=True).about()
    assert decoder["recipes"] == "decoder"
