from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.backbone import locations
from peft_lightning.backbone.loading import Backbone, load_tokenizer, loading_notes
from peft_lightning.backbone.weight_files import weight_files
from peft_lightning.errors import UserError
from peft_lightning.methods import QLoRA
from tests.methods.tiny_backbones import save_backbone


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    return save_backbone("roberta", tmp_path / "roberta")


def one_line(name_or_path: str | Path, load: Callable[[Backbone], Any] = lambda backbone: backbone.load(2)) -> str:
    with pytest.raises(UserError) as raised:
        load(Backbone(str(name_or_path)))
    line = str(raised.value)
    assert "\n" not in line
    assert "above report" not in line
    return line


def configure(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def rename(folder: Path, new_name: Callable[[str], str]) -> None:
    """Renames the tensors in a folder's weights."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    renamed = {new_name(name): value for name, value in tensors.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


class TestAdapters:
    @pytest.fixture
    def adapter(self, roberta: Path, tmp_path: Path) -> Path:
        from peft import LoraConfig, get_peft_model

        adapted = get_peft_model(
            Backbone(str(roberta)).load(2), LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"])
        )
        adapted.save_pretrained(str(tmp_path / "adapter"))
        return tmp_path / "adapter"

    def test_an_adapter_beside_weights_is_refused_and_the_weights_alone_are_taken(
        self, roberta: Path, adapter: Path
    ) -> None:
        before = sum(parameter.numel() for parameter in Backbone(str(roberta)).load(2).parameters())
        for file in adapter.glob("adapter_*"):
            shutil.copy(file, roberta)
        assert "holds an adapter (adapter_config.json) beside its weights" in one_line(roberta)
        (roberta / "adapter_config.json").unlink()
        assert sum(parameter.numel() for parameter in Backbone(str(roberta)).load(2).parameters()) == before

    def test_an_adapter_alone_is_refused_and_its_backbone_named(self, roberta: Path, adapter: Path) -> None:
        line = one_line(adapter)
        assert "is a PEFT adapter, not a model" in line
        assert f"the folder of its backbone, {roberta}, or merge the adapter" in line
        with pytest.raises(UserError, match="is a PEFT adapter, not a model"):
            load_tokenizer(str(adapter))
        (adapter / "adapter_config.json").write_text("[" * 100_000)
        assert "the folder of its backbone or merge" in one_line(adapter)

    def test_an_adapter_on_the_hub_is_refused_before_its_backbone_is_loaded(
        self, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = "c" * 40
        repository = tmp_path / "hub" / "models--some--adapter"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        shutil.copytree(adapter, repository / "snapshots" / commit)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        locations._hub_answers.cache_clear()
        assert "some/adapter is a PEFT adapter, not a model" in one_line("some/adapter")

    def test_an_adapter_that_was_saved_unmerged_is_refused(self, roberta: Path) -> None:
        rename(roberta, lambda name: name.replace("query.weight", "query.base_layer.weight"))
        assert "holds an adapter that is not merged into its weights" in one_line(roberta)


class TestQuantised:
    @pytest.mark.parametrize(
        ("settings", "how"),
        [
            ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "(bitsandbytes)"),
            ({"quant_method": "gptq", "bits": 4}, "(gptq)"),
            ({"quant_method": "awq", "bits": 4}, "(awq)"),
            ({"quant_method": "unheard of"}, "(unheard of)"),
        ],
    )
    def test_a_quantised_model_is_refused_for_every_method(
        self, settings: dict[str, Any], how: str, roberta: Path
    ) -> None:
        configure(roberta, quantization_config=settings)
        for load in (lambda backbone: backbone.load(2), lambda backbone: QLoRA().load_backbone(backbone, 2)):
            line = one_line(roberta, load)
            assert f"is already quantised {how}" in line
            assert "name the model before quantisation" in line

    def test_what_bitsandbytes_saves_is_refused_even_where_its_configuration_is_gone(
        self, roberta: Path, tmp_path: Path
    ) -> None:
        QLoRA().load_backbone(Backbone(str(roberta)), 2).save_pretrained(tmp_path / "quantised")
        assert "is already quantised (bitsandbytes)" in one_line(tmp_path / "quantised")
        configure(tmp_path / "quantised", quantization_config=None)
        assert "holds quantised weights" in one_line(tmp_path / "quantised")

    def test_a_report_that_nobody_sees_is_not_pointed_to(self) -> None:
        error = RuntimeError("We encountered some issues. For details look at the above report!")
        line = str(locations.loading_error("m", None, error))
        assert line == "m cannot be loaded: its weights are not of the form that its config.json says"


class TestFiles:
    @pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack", "model-Q4_K_M.gguf", "model.onnx"])
    def test_weights_of_another_format_are_named(self, name: str, roberta: Path) -> None:
        (roberta / "model.safetensors").rename(roberta / name)
        assert f"holds no weights: model.safetensors or pytorch_model.bin is not there, and {name}" in one_line(roberta)

    def test_a_pointer_of_git_lfs_is_no_weights(self, roberta: Path) -> None:
        (roberta / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        assert "model.safetensors only points to them; fetch them with git lfs pull" in one_line(roberta)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', "[" * 10**5])
    def test_a_damaged_index_of_shards_is_one_line(self, content: str, roberta: Path) -> None:
        (roberta / "model.safetensors").unlink()
        (roberta / "model.safetensors.index.json").write_text(content)
        assert "model.safetensors.index.json is damaged" in one_line(roberta)

    def test_missing_shards_are_counted(self, roberta: Path) -> None:
        (roberta / "model.safetensors").unlink()
        shards = {letter: f"model-{letter}.safetensors" for letter in "abc"}
        (roberta / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        assert "model-a.safetensors is not there (nor are 2 others of 3)" in one_line(roberta)

    def test_of_two_formats_the_one_that_is_loaded_is_the_one_that_is_hashed(self, roberta: Path) -> None:
        name = "roberta.encoder.layer.0.attention.self.query.weight"
        stored = Backbone(str(roberta)).load(2).get_parameter(name)
        other = {name: torch.zeros_like(stored)}
        torch.save(other, roberta / "pytorch_model.bin")
        assert weight_files(roberta) == [roberta / "model.safetensors"]
        assert torch.equal(Backbone(str(roberta)).load(2).get_parameter(name), stored)

    def test_weights_under_a_name_of_their_own_are_refused(self, roberta: Path) -> None:
        shutil.copy(roberta / "model.safetensors", roberta / "other.safetensors")
        configure(roberta, transformers_weights="other.safetensors")
        assert "names its file of weights in config.json (transformers_weights)" in one_line(roberta)


class TestSettings:
    def test_settings_of_a_past_use_are_set_aside_and_noted(self, roberta: Path) -> None:
        past = {"gradient_checkpointing": True, "return_dict": False, "output_hidden_states": True}
        plain = Backbone(str(roberta)).load(2)
        configure(roberta, **past, problem_type="regression", torch_dtype="float16", dtype="float16")
        model = Backbone(str(roberta)).load(2)
        assert not model.is_gradient_checkpointing
        answer = model(input_ids=torch.tensor([[5, 6, 7]]))
        assert answer.logits.shape == (1, 2)
        assert answer.hidden_states is None
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert loading_notes(plain) == []
        (note,) = loading_notes(model)
        assert note == (
            f"config.json of {roberta} sets return_dict, gradient_checkpointing, output_hidden_states: not taken over"
        )

    def test_an_encoder_that_is_set_to_be_a_decoder_is_refused(self, roberta: Path) -> None:
        configure(roberta, is_decoder=True)
        assert "is a decoder (config.json sets is_decoder)" in one_line(roberta)

    def test_code_beside_a_model_that_transformers_knows_is_noted(self, roberta: Path) -> None:
        configure(roberta, auto_map={"AutoModelForSequenceClassification": "own.Own"})
        (note,) = loading_notes(Backbone(str(roberta)).load(2))
        assert note == (f"{roberta} comes with Python code of its own, which is not run: transformers' roberta is")

    @pytest.mark.parametrize(
        "settings",
        [{"hidden_size": 0}, {"num_attention_heads": 0}, {"num_hidden_layers": "two"}, {"hidden_act": 5},
         {"vocab_size": -1}, {"id2label": 5}, {"max_position_embeddings": None}],
    )  # fmt: skip
    def test_a_configuration_that_no_model_can_have_is_one_line(self, settings: dict[str, Any], roberta: Path) -> None:
        configure(roberta, **settings)
        assert str(roberta) in one_line(roberta)


class TestStoredHeads:
    def test_a_head_with_names_of_its_own_is_noted(self, roberta: Path, tmp_path: Path) -> None:
        model = Backbone(str(roberta)).load(3)
        model.config.id2label = {0: "entailment", 1: "neutral", 2: "contradiction"}
        model.save_pretrained(tmp_path / "nli")
        (note,) = loading_notes(Backbone(str(tmp_path / "nli")).load(3))
        assert "was trained for entailment, neutral, contradiction: training goes on from it" in note
        (note,) = loading_notes(Backbone(str(tmp_path / "nli")).load(2))
        assert "another number of classes: the head starts afresh" in note

    def test_a_head_of_another_task_that_fits_by_chance_is_noted(self, tmp_path: Path) -> None:
        from transformers import AutoModelForTokenClassification

        source = save_backbone("bert", tmp_path / "bert")
        AutoModelForTokenClassification.from_pretrained(source, num_labels=2).save_pretrained(tmp_path / "ner")
        notes = loading_notes(Backbone(str(tmp_path / "ner")).load(2))
        assert any("is that of BertForTokenClassification: training goes on from it" in note for note in notes)
