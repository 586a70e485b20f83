"""Every decoder trains with every method as an encoder does, or one line says why not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peft_lightning.backbone.loading import Backbone, head_modules
from peft_lightning.backbone.quantised import Bits, Quantisation
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, PEFT, FullFineTuning, HeadOnly, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.methods.adaptation import load_adapted
from peft_lightning.methods.parameters import count_parameters, trainable_names
from tests.methods.tiny_decoders import NAMED, padded, save_decoder, texts
from tests.samples import mostly_slow

LABELS = torch.tensor([0, 1, 2, 1])
METHODS: list[type[Method]] = [FullFineTuning, LoRA, QLoRA, IA3, IA3LoRA, HeadOnly]
# A fused projection of queries, keys and values has no rows that IA3's scales for keys and values would fit.
WITHOUT_IA3 = {"phi3"}
# What LoRA adapts by default: PEFT's choice, or Llama's where PEFT has none, or else all.
LAYERS = {
    "gpt2": {"c_attn"},
    "gpt_neox": {"query_key_value"},
    "phi": {"q_proj", "v_proj", "fc1", "fc2"},
    "phi3": {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"},
    "t5": {"q", "v"},
}
FAST = {
    (LoRA, "qwen2"),
    (QLoRA, "gpt2"),
    (QLoRA, "t5"),
    (IA3, "llama"),
    (IA3LoRA, "smollm3"),
    (FullFineTuning, "gemma3_text"),
    (HeadOnly, "opt"),
    (LoRA, "bart"),
}
CASES = [(m, t) for m in METHODS for t in NAMED if not (issubclass(m, IA3 | IA3LoRA) and t in WITHOUT_IA3)]
GetDecoder = Callable[[str], Backbone]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> GetDecoder:
    folders: dict[str, Path] = {}

    def backbone(model_type: str) -> Backbone:
        if model_type not in folders:
            folders[model_type] = save_decoder(model_type, tmp_path_factory.mktemp(model_type))
        return Backbone(str(folders[model_type]))

    return backbone


def adapted(method: Method, backbone: Backbone) -> nn.Module:
    torch.manual_seed(0)
    return method.adapt(method.load_backbone(backbone, num_labels=3))


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        scored: Tensor = model.eval()(**padded(texts(), 2)).logits
    return scored


def train(model: nn.Module, steps: int = 1) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model.train()(**padded(texts(), 2)).logits, LABELS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("method", "model_type"),
    [pytest.param(m, t, marks=[] if (m, t) in FAST else pytest.mark.slow, id=f"{m.name}-{t}") for m, t in CASES],
)
def test_what_is_trained_moves_alone_and_reloads(method: type[Method], model_type: str, decoder: GetDecoder) -> None:
    chosen = method()
    plain = decoder(model_type).load(3)
    total = sum(weight.numel() for weight in plain.parameters())
    heads = {f"{name}." for name in head_modules(plain)}
    model = adapted(chosen, decoder(model_type))
    counts = count_parameters(model)
    assert counts.total == total
    assert counts.head == sum(w.numel() for name, w in plain.named_parameters() if name.startswith(tuple(heads)))
    assert (counts.adapter > 0) == (method not in (FullFineTuning, HeadOnly))
    logits(model)  # an evaluation comes first, as in a run
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = train(model, 8)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    trained = {id(weight) for weight in model.parameters() if weight.requires_grad}
    # T5's and BART's encoder and decoder share their embeddings, which have a name in each.
    assert moved <= {name for name, weight in model.named_parameters(remove_duplicate=False) if id(weight) in trained}
    assert losses[-1] < losses[0]
    of_head = {name for name in moved if any(head in name for head in heads)}
    assert of_head
    assert bool(moved - of_head) == (method is not HeadOnly)
    # What a checkpoint holds is enough to rebuild it.
    saved = {name: model.state_dict()[name].clone() for name in trainable_names(model)}
    torch.manual_seed(1)
    again = method()
    rebuilt = again.adapt(again.load_backbone(decoder(model_type), num_labels=3))
    assert not rebuilt.load_state_dict(saved, strict=False).unexpected_keys
    assert torch.equal(logits(rebuilt), logits(model))


@pytest.mark.parametrize("model_type", NAMED)
def test_lora_adapts_the_layers_that_peft_chooses_or_llama_s_or_all(model_type: str, decoder: GetDecoder) -> None:
    method = LoRA()
    names = trainable_names(adapted(method, decoder(model_type)))
    expected = LAYERS.get(model_type, {"q_proj", "v_proj"})
    assert {name.split(".lora_A")[0].rpartition(".")[2] for name in names if ".lora_A" in name} == expected
    (note,) = [note for note in method.notes if "PEFT" in note]
    peft_has_none = {
        "phi3": "PEFT has no choice of layers for phi3: all its linear layers are adapted",
        "smollm3": "PEFT has no choice of layers for smollm3: llama's, q_proj, v_proj, is adapted",
    }
    assert note == peft_has_none.get(model_type, note)
    assert model_type in peft_has_none or "PEFT's choice" in note


def test_all_linear_is_every_layer_but_the_head(decoder: GetDecoder) -> None:
    for model_type, layers in {"qwen2": 7, "gpt2": 4, "t5": 16 / 2}.items():
        names = trainable_names(adapted(LoRA(target_modules="all-linear"), decoder(model_type)))
        adapters = [name for name in names if ".lora_A" in name]
        assert not [name for name in adapters if "score" in name or "classification_head" in name]
        assert len(adapters) == (layers * 2 if model_type != "t5" else 2 * (4 + 2) + 2 * (8 + 2))


def test_ia3_asks_where_neither_peft_nor_llama_has_a_choice(decoder: GetDecoder) -> None:
    with pytest.raises(UserError, match=r"PEFT knows no default target layers for phi3; use .*qkv_proj"):
        adapted(IA3(), decoder("phi3"))


@pytest.mark.parametrize("model_type", mostly_slow(NAMED, fast=["qwen2", "t5"]))
@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_the_head_is_never_quantised_and_nothing_else_is_left_out(
    bits: Bits, model_type: str, decoder: GetDecoder
) -> None:
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    model = replace(decoder(model_type), quantisation=Quantisation(bits)).load(3)
    heads = tuple(f"{name}." for name in head_modules(model))
    packed = {n for n, module in model.named_modules() if isinstance(module, Linear4bit | Linear8bitLt)}
    plain = {n for n, module in model.named_modules() if type(module) is nn.Linear}
    if model_type == "t5":  # transformers keeps this layer in 32 bits: its sums leave the range of 16
        plain = {name for name in plain if not name.endswith(".wo")}
    assert packed
    assert all(f"{name}.".startswith(heads) for name in plain)
    assert {model.get_submodule(name).weight.dtype for name in plain} == {torch.float32}
    exact = decoder(model_type).load(3).eval()
    with torch.no_grad():
        states = [m.eval().base_model.eval() for m in (model, exact)]
        kwargs = padded(texts(), 2)
        if exact.config.is_encoder_decoder:
            kwargs["decoder_input_ids"] = kwargs["input_ids"]
        found, expected = (base(**kwargs).last_hidden_state for base in states)
    # Four bits round the states; weights that lie the wrong way round, or are read as bytes, give others altogether.
    assert nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"])
@pytest.mark.parametrize("model_type", mostly_slow(["gpt2", "llama", "qwen2", "opt", "gemma3_text"], fast=["qwen2"]))
def test_prompts_are_right_under_right_padding(peft_type: str, model_type: str, decoder: GetDecoder) -> None:
    model = adapted(PEFT({"peft_type": peft_type, "num_virtual_tokens": 4}), decoder(model_type))
    train(model, 2)
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(**padded([row], 2)).logits for row in texts()])
    assert torch.allclose(logits(model), alone, atol=2e-6)


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"])
@pytest.mark.parametrize("model_type", ["bart", "t5"])
def test_prompts_before_an_encoder_with_a_decoder_are_refused(
    peft_type: str, model_type: str, decoder: GetDecoder
) -> None:
    with pytest.raises(UserError, match=f"{peft_type} puts tokens before a decoder's text, and {model_type} is an"):
        adapted(PEFT({"peft_type": peft_type, "num_virtual_tokens": 4}), decoder(model_type))


def test_in_the_smallest_form_a_table_of_embeddings_that_scales_stays_whole(tmp_path: Path) -> None:
    """Gemma multiplies its embeddings by the root of their width: a plain table in four bits would lose the factor."""
    from bitsandbytes.nn.modules import Embedding4bit

    packed: dict[str, bool] = {}
    for model_type in ("qwen2", "gemma3_text"):
        folder = save_decoder(model_type, tmp_path / model_type, hidden_size=64)
        method = QLoRA()
        backbone = Backbone(str(folder), dtype="smallest", compute_dtype=torch.bfloat16)
        model: Any = load_adapted(method, backbone, 3, True, "paged_adamw_8bit")
        embeddings = next(m for n, m in model.named_modules() if n.endswith("embed_tokens"))
        packed[model_type] = isinstance(embeddings, Embedding4bit)
        with torch.autocast("cpu", torch.bfloat16):
            plain = Backbone(str(folder)).load(3).eval().base_model(**padded(texts(), 2)).last_hidden_state
            own = model.base_model.model.base_model.eval()(**padded(texts(), 2)).last_hidden_state
        assert nn.functional.cosine_similarity(plain.flatten(), own.flatten().float(), dim=0) > 0.8
        noted = [note for note in method.notes if "embeddings are not quantised" in note]
        assert bool(noted) == (not packed[model_type])
    assert packed == {"qwen2": True, "gemma3_text": False}


def test_a_copy_of_an_adapted_decoder_computes_the_same(decoder: GetDecoder) -> None:
    model = adapted(LoRA(), decoder("qwen2"))
    assert torch.equal(logits(deepcopy(model)), logits(model))
