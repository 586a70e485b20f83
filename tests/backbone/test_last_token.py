"""Decoders as classifiers: what a padded batch scores is what its texts score alone, whatever pads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from peft_lightning.backbone.architectures import longest_input, recompute_activations
from peft_lightning.backbone.half_width import is_held_in_bfloat16
from peft_lightning.backbone.last_token import is_last_token_classifier, last_tokens, scores_last_token
from peft_lightning.backbone.loading import Backbone, head_modules, loading_notes
from peft_lightning.errors import UserError
from peft_lightning.methods import LoRA
from tests.methods.tiny_backbones import CONFIGS
from tests.methods.tiny_decoders import NAMED, OTHERS, VOCABULARY, padded, save_decoder, texts
from tests.samples import mostly_slow

ALL = mostly_slow([*NAMED, *OTHERS], fast=NAMED)
EOS = 2


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    folders: dict[str, Path] = {}

    def folder(model_type: str) -> str:
        if model_type not in folders:
            folders[model_type] = save_decoder(model_type, tmp_path_factory.mktemp(model_type))
        return str(folders[model_type])

    return folder


def scores(model: PreTrainedModel, rows: list[list[int]], pad: int) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**padded(rows, pad)).logits
    return logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", ALL)
def test_a_padded_batch_scores_what_its_texts_score_alone(
    model_type: str, attention: str, saved: Callable[[str], str]
) -> None:
    model = Backbone(saved(model_type), attn_implementation=attention).load(3).eval()
    rows = texts(ends_in=EOS)
    alone = torch.cat([scores(model, [row], EOS) for row in rows])
    assert alone.std(0).min() > 1e-3  # the texts are told apart
    # The end of each text is also what pads: transformers would score the token before it.
    assert torch.allclose(scores(model, rows, EOS), alone, atol=3e-6)
    # Whatever pads, and whatever stands beside in the batch.
    assert torch.allclose(scores(model, rows, 7)[:2], alone[:2], atol=3e-6)


@pytest.mark.parametrize("model_type", ALL)
def test_where_no_text_contains_the_padding_transformers_scores_the_same(
    model_type: str, saved: Callable[[str], str]
) -> None:
    model = Backbone(saved(model_type)).load(3).eval()
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = 0
    own: Any = type(model).__mro__[2]
    assert own.__name__ == type(model).__name__
    assert own.__module__.startswith("transformers.models.")
    batch = padded(texts(ends_in=EOS), 0)
    with torch.no_grad():
        theirs = own.forward(model, **batch).logits
    assert torch.allclose(scores(model, texts(ends_in=EOS), 0), theirs, atol=1e-6)


def test_every_architecture_that_the_docs_name_is_tried_here() -> None:
    docs = (Path(__file__).resolve().parents[2] / "docs/decoders.md").read_text()
    table, _, _ = docs.partition("## Which")[2].partition("\n## ")
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(NAMED)


def test_what_transformers_would_score_is_another_token_where_the_end_of_text_pads(saved: Callable[[str], str]) -> None:
    """The reason for all this: a failure here means that transformers reads the mask by now."""
    model = Backbone(saved("llama")).load(3).eval()
    model.config.pad_token_id = EOS
    batch = padded(texts(ends_in=EOS), EOS)
    own: Any = type(model).__mro__[2]
    with torch.no_grad():
        theirs = own.forward(model, **batch).logits
    assert not torch.allclose(model(**batch).logits, theirs, atol=1e-2)


def test_the_last_token_is_found_on_both_sides_of_padding_and_behind_a_prompt() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0]])
    found = last_tokens(mask, 4)
    assert isinstance(found, Tensor)
    assert found.tolist() == [1, 3, 3, 0]
    prompted = last_tokens(torch.cat([torch.ones(4, 2, dtype=torch.long), mask], 1), 6)
    assert isinstance(prompted, Tensor)
    assert prompted.tolist() == [3, 5, 5, 2]
    # PEFT's prefix has keys and no states of its own.
    prefixed = last_tokens(torch.cat([torch.ones(4, 2, dtype=torch.long), mask], 1), 4)
    assert isinstance(prefixed, Tensor)
    assert prefixed.tolist() == [1, 3, 3, 0]
    assert last_tokens(None, 4) == -1


def test_a_single_text_without_a_mask_is_scored_at_its_end(saved: Callable[[str], str]) -> None:
    model = Backbone(saved("qwen2")).load(3).eval()
    (row,) = texts(count=1)
    with torch.no_grad():
        assert torch.equal(model(input_ids=torch.tensor([row])).logits, scores(model, [row], 0))


@pytest.mark.parametrize("model_type", sorted(CONFIGS))
def test_encoders_are_left_alone(model_type: str, tmp_path: Path) -> None:
    assert not scores_last_token(CONFIGS[model_type])


@pytest.mark.parametrize("model_type", ["llama", "t5"])
def test_a_model_stays_what_it_is_for_transformers(
    model_type: str, saved: Callable[[str], str], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    model = Backbone(saved(model_type)).load(3).eval()
    model.save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["architectures"] == [type(model).__name__]
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert not is_last_token_classifier(again)
    assert is_last_token_classifier(deepcopy(model))
    loaded = Backbone(str(tmp_path)).load(3).eval()
    assert torch.equal(scores(loaded, texts(), 0), scores(model, texts(), 0))
    assert loading_notes(loaded) == []


def test_no_state_is_kept_for_generation(saved: Callable[[str], str]) -> None:
    model = Backbone(saved("gpt2")).load(2)
    assert model.config.use_cache  # what the checkpoint says
    seen: list[object] = []
    hook = model.base_model.register_forward_hook(lambda _, __, output: seen.append(output.past_key_values))
    model(**padded(texts(), 0))
    hook.remove()
    assert seen == [None]


@pytest.mark.parametrize("model_type", mostly_slow(NAMED, fast=["gemma3_text", "gpt2", "t5"]))
def test_recomputed_activations_give_the_same_gradients(model_type: str, saved: Callable[[str], str]) -> None:
    def gradients(recompute: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = Backbone(saved(model_type)).load(3)
        if recompute:
            recompute_activations(model)
        adapted = LoRA().adapt(model).train()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            adapted(**padded(texts(), 0)).logits.square().sum().backward()
        return [weight.grad for weight in adapted.parameters() if weight.grad is not None]

    plain, again = gradients(recompute=False), gradients(recompute=True)
    assert len(plain) == len(again) > 2
    for one, other in zip(plain, again, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("model_type", mostly_slow(NAMED, fast=["gemma2", "llama", "opt", "t5"]))
def test_in_half_the_width_the_head_keeps_32_bits_and_the_states_16(
    model_type: str, saved: Callable[[str], str]
) -> None:
    model = Backbone(saved(model_type), dtype="bfloat16", compute_dtype=torch.bfloat16).load(3).eval()
    assert is_held_in_bfloat16(model)
    heads = tuple(f"{name}." for name in head_modules(model))
    for name, weight in model.named_parameters():
        assert weight.dtype == (torch.float32 if name.startswith(heads) else torch.bfloat16), name
    states: list[torch.dtype] = []
    layers = max((m for m in model.modules() if isinstance(m, torch.nn.ModuleList)), key=len)
    layers[-1].register_forward_hook(
        lambda _, __, out: states.append((out[0] if isinstance(out, tuple) else out).dtype)
    )
    with torch.autocast("cpu", torch.bfloat16):
        narrow = scores(model, texts(), 0).float()
    assert set(states) == {torch.bfloat16}
    assert torch.isfinite(narrow).all()


@pytest.mark.parametrize(
    ("model_type", "limit"), [("llama", 40), ("gpt2", 40), ("opt", 40), ("bart", 40), ("gemma3_text", 40), ("t5", None)]
)
def test_the_longest_input_is_the_configuration_s(
    model_type: str, limit: int | None, saved: Callable[[str], str]
) -> None:
    model = Backbone(saved(model_type)).load(2)
    assert longest_input(model) == limit
    assert longest_input(LoRA().adapt(model)) == limit


def test_a_text_of_the_longest_input_has_a_position_for_each_token(saved: Callable[[str], str]) -> None:
    for model_type in ("gpt2", "opt", "bart"):
        model = Backbone(saved(model_type)).load(2).eval()
        assert scores(model, [[5] * 39 + [EOS]], 0).shape == (1, 2)
        with pytest.raises((IndexError, RuntimeError)):
            scores(model, [[5] * 42 + [EOS]], 0)


def test_a_head_that_scores_something_else_is_refused_in_a_line(tmp_path: Path) -> None:
    config = AutoConfig.for_model("xlnet", vocab_size=VOCABULARY, d_model=32, n_layer=1, n_head=2, d_inner=48)
    from transformers import AutoModelForSequenceClassification

    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is a xlnet model, whose head \(logits_proj, sequence_summary\)") as refused:
        Backbone(str(tmp_path)).load(2)
    assert "\n" not in str(refused.value)


def test_labels_are_the_task_s(saved: Callable[[str], str]) -> None:
    model = Backbone(saved("llama")).load(2)
    with pytest.raises(ValueError, match="leave labels out"):
        model(**padded(texts(), 0), labels=torch.tensor([0, 1, 0, 1]))
