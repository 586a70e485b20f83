from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from peft_lightning.backbone.last_token import score_last_token
from peft_lightning.engine import unpadded_attention as module
from peft_lightning.engine.unpaddable_networks import DECODERS, MODEL_TYPES, can_unpad, knows_its_padding
from peft_lightning.engine.unpadded_attention import unpadded_attention
from tests.methods.tiny_decoders import tiny_config
from tests.samples import mostly_slow

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
ROWS, WIDTH = 4, 12
LENGTHS = (12, 7, 1, 11)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Attends within each sequence by another way, and remembers where they ended: the kernel is a GPU's."""
    seen: list[list[int]] = []

    def plainly(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        ends: Tensor,
        longest: int,
        dropout: float,
        scaling: float | None,
        looks_back: bool,
    ) -> Tensor:
        assert ends.dtype == torch.int32
        seen.append(ends.tolist())
        parts = [
            scaled_dot_product_attention(
                query[first:last].transpose(0, 1),
                key[first:last].transpose(0, 1),
                value[first:last].transpose(0, 1),
                dropout_p=dropout,
                is_causal=looks_back,
                scale=scaling,
                enable_gqa=True,
            ).transpose(0, 1)
            for first, last in zip(seen[-1][:-1], seen[-1][1:], strict=True)
            if first < last <= first + longest
        ]
        return torch.cat(parts)

    monkeypatch.setattr(module, "flash", plainly)
    monkeypatch.setattr(module, "DTYPES", (torch.float32, torch.bfloat16))
    return seen


def placed(model: PreTrainedModel, device: str) -> PreTrainedModel:
    on_device: PreTrainedModel = model.eval().to(device)
    return on_device


def encoder(model_type: str = "roberta", device: str = "cpu", **more: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 50}
    config = AutoConfig.for_model(model_type, **sizes, intermediate_size=64, pad_token_id=1, num_labels=2, **more)
    if model_type == "distilbert":
        config.hidden_dim = 64
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")
    return placed(model, device)


def texts(left: bool = False, width: int = WIDTH, device: str = "cpu") -> dict[str, Tensor]:
    """Rows of several lengths, one that fills its row and one of a single token."""
    lengths = torch.tensor(LENGTHS)[:, None] * width // WIDTH
    places = torch.arange(width)[None]
    mask = places >= width - lengths if left else places < lengths
    tokens = torch.randint(2, 50, (ROWS, width), generator=torch.Generator().manual_seed(1))
    return {"input_ids": tokens.where(mask, 1).to(device), "attention_mask": mask.long().to(device)}


def results(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """What comes out for every token, and the gradients; what comes out for padding is nobody's."""
    model.zero_grad()
    states = model.base_model(**batch).last_hidden_state[batch["attention_mask"].bool()]
    states.square().mean().backward()
    return states.detach(), {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("model_type", sorted(MODEL_TYPES))
def test_states_and_gradients_are_those_of_attention_with_a_mask(
    model_type: str, left: bool, kernel: list[list[int]]
) -> None:
    model, batch = encoder(model_type), texts(left)
    assert knows_its_padding(model)
    states, gradients = results(model, batch)
    assert kernel == []
    with unpadded_attention(model):
        unpadded_states, unpadded_gradients = results(model, batch)
    # The same for every layer: the ends of each row's two parts, of which one may be empty.
    ends = [0, 12, 12, 17, 24, 35, 36, 37, 48] if left else [0, 12, 12, 19, 24, 25, 36, 47, 48]
    assert kernel == [ends, ends]
    assert torch.allclose(states, unpadded_states, atol=1e-5)
    assert gradients.keys() == unpadded_gradients.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, unpadded_gradients[name], atol=1e-6), name


def decoder(model_type: str, device: str = "cpu", **more: Any) -> PreTrainedModel:
    """A decoder as runs have it, with heads of 8 so that the kernel would take them, and a window as wide as a row."""
    torch.manual_seed(0)
    config = tiny_config(model_type, num_labels=2, pad_token_id=1, **more)
    if getattr(config, "sliding_window", None) is not None:
        config.sliding_window = more.get("sliding_window", WIDTH)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")
    score_last_token(model, model_type)
    return placed(model, device)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize(
    "model_type", mostly_slow(sorted(DECODERS), fast=["gemma3_text", "gpt2", "gpt_neox", "mistral", "opt", "qwen2"])
)
def test_a_decoder_s_states_and_gradients_are_those_of_attention_with_a_mask(
    model_type: str, left: bool, kernel: list[list[int]]
) -> None:
    model, batch = decoder(model_type), texts(left)
    assert knows_its_padding(model)
    states, gradients = results(model, batch)
    assert kernel == []
    with unpadded_attention(model):
        unpadded_states, unpadded_gradients = results(model, batch)
    assert len(kernel) == 2
    assert torch.allclose(states, unpadded_states, atol=1e-5)
    assert gradients.keys() == unpadded_gradients.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, unpadded_gradients[name], atol=1e-6), name


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_what_the_kernel_cannot_take_of_a_decoder_gets_a_mask(left: bool) -> None:
    model, batch = decoder("qwen2"), texts(left)
    states, gradients = results(model, batch)
    with unpadded_attention(model):
        masked_states, masked_gradients = results(model, batch)
    assert torch.allclose(states, masked_states, atol=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, masked_gradients[name], atol=1e-6), name


def test_a_window_narrower_than_the_row_keeps_its_mask(kernel: list[list[int]]) -> None:
    model, batch = decoder("mistral", sliding_window=WIDTH - 1), texts()
    states, _ = results(model, batch)
    with unpadded_attention(model):
        same, _ = results(model, batch)
    assert kernel == []
    assert torch.equal(states, same)


def test_prefixes_and_prompts_before_a_decoder_s_text_are_seen(kernel: list[list[int]]) -> None:
    for kind, texts_alone in ((PrefixTuningConfig, False), (PromptTuningConfig, True)):
        kernel.clear()
        model = get_peft_model(decoder("qwen2"), kind(num_virtual_tokens=3, task_type="SEQ_CLS")).eval()
        batch = texts()
        scores = model(**batch).logits
        with unpadded_attention(model):
            assert torch.allclose(model(**batch).logits, scores, atol=1e-6)
        # A prefix has keys and no queries, which the kernel does not take.
        assert bool(kernel) == texts_alone


def test_an_adapted_encoder_trains_as_before_under_autocast(kernel: list[list[int]]) -> None:
    adapters = LoraConfig(r=2, target_modules=["query", "value"], task_type="SEQ_CLS")
    model = get_peft_model(encoder(), adapters).eval()
    batch = texts()

    def gradients() -> list[Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            model(**batch).logits.square().sum().backward()
        return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    expected = gradients()
    with unpadded_attention(model):
        found = gradients()
    assert len(kernel) == 2
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=0.1, atol=0.02 * float(one.abs().max()))


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_what_the_kernel_cannot_take_gets_a_mask(left: bool) -> None:
    model, batch = encoder(), texts(left)
    states, gradients = results(model, batch)
    with unpadded_attention(model):
        masked_states, masked_gradients = results(model, batch)
    assert torch.allclose(states, masked_states, atol=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, masked_gradients[name], atol=1e-6), name


def test_outside_attention_is_as_it_was_even_after_what_breaks_off(kernel: list[list[int]]) -> None:
    model, batch = encoder(), texts()
    with pytest.raises(ZeroDivisionError), unpadded_attention(model):
        raise ZeroDivisionError
    model(**batch)
    assert kernel == []
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_what_looks_back_only_keeps_its_mask(model_type: str, kernel: list[list[int]]) -> None:
    model, batch = encoder(model_type, is_decoder=True), texts()
    states, _ = results(model, batch)
    with unpadded_attention(model):
        same, _ = results(model, batch)
    assert kernel == []
    assert torch.equal(states, same)


def test_without_a_mask_every_token_is_seen(kernel: list[list[int]]) -> None:
    model, tokens = encoder(), texts()["input_ids"].clamp(min=2)
    scores = model(input_ids=tokens).logits
    with unpadded_attention(model):
        assert torch.allclose(model(input_ids=tokens).logits, scores, atol=1e-6)


@CUDA
@pytest.mark.parametrize("width", [48, 256, 516])
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
def test_on_a_gpu_states_and_gradients_are_those_of_attention_with_a_mask(left: bool, width: int) -> None:
    model = encoder(device="cuda", max_position_embeddings=600)
    batch = texts(left, width, "cuda")
    assert can_unpad(model, torch.device("cuda"), torch.bfloat16)
    with torch.autocast("cuda", torch.bfloat16):
        states, gradients = results(model, batch)
        with unpadded_attention(model):
            unpadded_states, unpadded_gradients = results(model, batch)
    assert torch.allclose(states, unpadded_states, atol=0.05)
    assert (states - unpadded_states).abs().mean() < 0.01
    for name, gradient in gradients.items():
        allowed = 0.05 * float(gradient.abs().max()) + 1e-6
        assert torch.allclose(gradient, unpadded_gradients[name], atol=allowed), name


@CUDA
@pytest.mark.parametrize("width", [256, 516])
def test_on_a_gpu_deterministic_gradients_come_again_to_the_bit(width: int) -> None:
    model = encoder(device="cuda", max_position_embeddings=600).train()
    batch = texts(width=width, device="cuda")
    torch.use_deterministic_algorithms(True, warn_only=width == 256)
    try:
        found = []
        for _ in range(3):
            torch.manual_seed(3)
            with torch.autocast("cuda", torch.bfloat16), unpadded_attention(model):
                found.append(results(model, batch)[1])
    finally:
        torch.use_deterministic_algorithms(False)
    for again in found[1:]:
        assert all(torch.equal(gradient, again[name]) for name, gradient in found[0].items())


@CUDA
def test_on_a_gpu_dropout_drops_and_keeps_the_mean() -> None:
    model = encoder("roberta", "cuda", attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0, initializer_range=0.2)
    model.train()
    batch = texts(width=48, device="cuda")
    with torch.autocast("cuda", torch.bfloat16), unpadded_attention(model), torch.no_grad():
        several = torch.stack([model.base_model(**batch).last_hidden_state for _ in range(200)]).float()
        model.eval()
        expected = model.base_model(**batch).last_hidden_state
    tokens = batch["attention_mask"].bool()
    spread = several.std(0)[tokens].mean()
    assert spread > 0.02
    assert (several.mean(0) - expected)[tokens].abs().mean() < 0.5 * spread


@CUDA
@pytest.mark.parametrize("width", [48, 256, 516])
@pytest.mark.parametrize("model_type", ["gpt2", "llama", "mistral", "qwen2"])
def test_on_a_gpu_a_decoder_s_states_and_gradients_are_those_of_attention_with_a_mask(
    model_type: str, width: int
) -> None:
    model = decoder(
        model_type, "cuda", max_position_embeddings=600, **({"sliding_window": 600} if model_type == "mistral" else {})
    )
    batch = texts(width=width, device="cuda")
    assert can_unpad(model, torch.device("cuda"), torch.bfloat16)
    with torch.autocast("cuda", torch.bfloat16):
        states, gradients = results(model, batch)
        with unpadded_attention(model):
            unpadded_states, unpadded_gradients = results(model, batch)
    assert torch.allclose(states, unpadded_states, atol=0.05)
    assert (states - unpadded_states).abs().mean() < 0.01
    for name, gradient in gradients.items():
        allowed = 0.05 * float(gradient.abs().max()) + 1e-6
        assert torch.allclose(gradient, unpadded_gradients[name], atol=allowed), name
