"""Small decoders of the usual families, trained, exported in every form, and proved in one fresh process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from peft_lightning.__main__ import main
from peft_lightning.backbone.locations import EMBEDDED_FOLDER
from peft_lightning.export.exporting import read_run, write
from peft_lightning.export.proof import Proof, prove
from peft_lightning.export.request import Form, Request
from peft_lightning.export.saved_answers import SavedAnswers, read_saved_answers
from peft_lightning.export.written import Written
from tests.methods.tiny_decoders import save_decoder

pytestmark = pytest.mark.slow
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "opt", "phi")


def decoder(family: str, folder: Path) -> Path:
    """A tiny decoder whose tokenizer pads with its end-of-text token and ends no text, as GPT-2's does."""
    save_decoder(family, folder, vocab_size=8192, max_position_embeddings=64, num_hidden_layers=1)
    content = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="</s>", pad_token="</s>", model_max_length=64
    ).save_pretrained(folder)
    return folder


def trained(tiny_fit: list[str], backbone: Path) -> Path:
    """The directory of a run of LoRA on all linear layers of that backbone."""
    words = ["fit", "--config", "configs/decoder/lora.yaml", "--model.model_name_or_path", str(backbone)]
    words += tiny_fit[tiny_fit.index("--data.source") :]
    words += ["--trainer.precision", "32-true", "--model.backbone_dtype", "float32"]
    words += ["--trainer.limit_train_batches", "2", "--model.learning_rate", "1e-2"]
    root = backbone.with_name(f"{backbone.name}_run")
    main([*words, "--trainer.default_root_dir", str(root)])
    (run,) = root.glob("lightning_logs/*/version_0")
    return run


def written(run: Path, form: Form) -> tuple[Written, SavedAnswers]:
    folder = run / form
    folder.mkdir()
    record, config = read_run(run)
    return write(run, folder, Request(form)), read_saved_answers(run, record, config)


def test_every_family_gives_its_answers_as_adapter_merged_and_in_onnx(tiny_fit: list[str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra peft-lightning[onnx] is not installed")
    runs = {family: trained(tiny_fit, decoder(family, tmp_path / family)) for family in FAMILIES}
    forms: tuple[Form, ...] = ("adapter", "merged", "onnx")
    exports = {(family, form): written(run, form) for family, run in runs.items() for form in forms}
    found: dict[tuple[str, Form], Proof] = dict(zip(exports, prove(list(exports.values()), tmp_path), strict=True))
    assert len(found) == len(FAMILIES) * len(forms)
    assert {name: proof.failure for name, proof in found.items() if proof.failure is not None} == {}
    moved = {name: proof.comparison.greatest_change for name, proof in found.items() if proof.comparison is not None}
    assert max(moved.values()) < 1e-5, moved
