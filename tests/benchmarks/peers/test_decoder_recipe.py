"""The peers' side of decoders' recipes: what they train is what the recipe says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from peers.decoder_recipe import build_decoder, read_recipe
from side_by_side.peer_job import METHODS_OF, Method, PeerJob
from side_by_side.random_decoder import draw
from side_by_side.shared_reviews import Reviews, load_tokenizer, token_ids

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "decoder"


@pytest.fixture
def job(decoder_shape: Path) -> Callable[..., PeerJob]:
    """Names a job on a small decoder's shape."""

    def make(method: Method, backbone: Path = decoder_shape) -> PeerJob:
        return PeerJob(
            kind="step",
            peer="hf-best",
            variant="x",
            method=method,
            batch_size=2,
            max_length=6,
            steps=40,
            warmup_steps=1,
            repeat=0,
            n_train=4,
            n_test=0,
            learning_rate=1e-4,
            reviews="reviews",
            backbone=str(backbone),
            tokens_per_step=0.0,
            recipes="decoder",
        )

    return make


def test_every_recipe_of_decoders_is_measured() -> None:
    assert set(METHODS_OF["decoder"]) == {path.stem for path in CONFIGS.glob("*.yaml")}


def test_a_recipe_is_read_in_the_words_of_its_peers(job: Callable[..., PeerJob]) -> None:
    lora, large = read_recipe(job("lora")), read_recipe(job("7b-qlora"))
    targets = {"lora_alpha": 16, "target_modules": "all-linear"}
    assert lora.adapters == targets | {"r": 8, "lora_dropout": 0.0}
    assert (lora.dtype, lora.four_bits, lora.paged_8bit) == (torch.bfloat16, None, False)
    assert (lora.schedule, lora.warmup_steps(40), lora.clip) == ("cosine", 4, 1.0)
    assert large.adapters == targets | {"r": 64, "lora_dropout": 0.1}
    assert large.four_bits is not None
    assert (large.four_bits["bnb_4bit_quant_type"], large.four_bits["llm_int8_skip_modules"]) == ("nf4", ["score"])
    assert (large.schedule, large.paged_8bit, large.clip) == ("constant_with_warmup", True, 0.3)
    lean = read_recipe(job("7b-qlora-lean"))
    assert (lean.dtype, lean.adapters) == (
        torch.bfloat16,
        {"r": 16, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
    )
    assert lean.four_bits == large.four_bits
    full = read_recipe(job("full"))
    assert (full.dtype, full.adapters, full.paged_8bit) == (torch.float32, None, False)


def test_each_text_ends_in_the_end_of_text_token_also_where_it_is_cut(job: Callable[..., PeerJob]) -> None:
    tokenizer = load_tokenizer(job("lora").backbone)
    short, long = token_ids(job("lora"), Reviews(["good", "good " * 20], [1, 1]), tokenizer)
    assert short[-1] == long[-1] == tokenizer.eos_token_id
    assert len(short) < len(long) == 6


def test_adapters_and_head_train_in_32_bits_beside_a_backbone_in_bf16(
    job: Callable[..., PeerJob], decoder_shape: Path, tmp_path: Path
) -> None:
    draw(decoder_shape, tmp_path / "decoder")
    model = build_decoder(job("lora", tmp_path / "decoder"))
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert {w.dtype for w in model.parameters() if not w.requires_grad} == {torch.bfloat16}
    assert sum("score" in name for name in trained) == 1
    # Two layers of seven matrices with two factors each, and the head.
    assert len(trained) == 2 * 7 * 2 + 1
