from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from peft_lightning.backbone import locations
from peft_lightning.backbone.loading import Backbone, head_modules, load_tokenizer, loading_notes
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods import IA3, FullFineTuning, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import trainable_names
from tests.methods.tiny_backbones import CONFIGS, save_backbone


@pytest.fixture
def roberta(tmp_path: Path) -> Path:
    return save_backbone("roberta", tmp_path / "roberta")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return save_backbone("bert", tmp_path / "bert")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    locations._hub_answers.cache_clear()


def one_line(name_or_path: str | Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as raised:
        Backbone(str(name_or_path), **arguments).load(2)
    line = str(raised.value)
    assert "\n" not in line
    return line


class TestLoad:
    def test_weights_are_those_of_the_checkpoint_in_32_bits(self, roberta: Path) -> None:
        from safetensors.torch import load_file, save_file

        stored = {name: value.half() for name, value in load_file(roberta / "model.safetensors").items()}
        save_file(stored, roberta / "model.safetensors", metadata={"format": "pt"})
        model = Backbone(str(roberta)).load(3)
        name = "roberta.encoder.layer.1.attention.self.query.weight"
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert torch.equal(model.get_parameter(name), stored[name].float())
        assert model.config.num_labels == 3

    def test_nothing_is_printed(self, roberta: Path, capfd: pytest.CaptureFixture[str]) -> None:
        Backbone(str(roberta)).load(2)
        assert capfd.readouterr() == ("", "")

    def test_outline_leaves_the_random_numbers_alone(self, bert: Path) -> None:
        before = torch.get_rng_state()
        outline = Backbone(str(bert)).outline(2)
        assert torch.equal(torch.get_rng_state(), before)
        assert head_modules(outline) == head_modules(Backbone(str(bert)).load(2))
        assert next(outline.parameters()).device.type == "meta"

    def test_attention_is_the_one_asked_for(self, roberta: Path) -> None:
        for attention in ("eager", "sdpa"):
            model = Backbone(str(roberta), attn_implementation=attention).load(2)
            assert model.config._attn_implementation == attention

    def test_an_architecture_without_sdpa_says_that_it_runs_eager(self, tmp_path: Path) -> None:
        model = Backbone(str(save_backbone("deberta-v2", tmp_path))).load(2)
        assert model.config._attn_implementation == "eager"
        assert loading_notes(model) == ["deberta-v2 has no sdpa attention: eager is used"]


class TestWhatIsNew:
    @pytest.mark.parametrize(
        ("model_type", "modules"),
        [
            ("roberta", ["classifier"]),
            ("electra", ["classifier"]),
            ("distilbert", ["pre_classifier", "classifier"]),
            ("deberta-v2", ["pooler", "classifier"]),
            ("modernbert", ["head", "classifier"]),
            ("bert", ["classifier", "bert.pooler.dense"]),
            ("albert", ["classifier", "albert.pooler"]),
        ],
    )
    def test_head_modules(self, model_type: str, modules: list[str], tmp_path: Path) -> None:
        model = Backbone(str(save_backbone(model_type, tmp_path))).load(2)
        assert head_modules(model) == modules
        noted = [note for note in loading_notes(model) if "trained from scratch" in note]
        assert bool(noted) == (model_type in ("bert", "albert"))

    @pytest.mark.parametrize("method", [FullFineTuning, LoRA, QLoRA, IA3])
    def test_a_module_missing_from_the_checkpoint_is_never_frozen(self, method: type[Method], bert: Path) -> None:
        chosen = method()
        names = trainable_names(chosen.adapt(chosen.load_backbone(Backbone(str(bert)), 2)))
        assert [name for name in names if "bert.pooler.dense" in name and name.endswith("weight")]
        assert ["pooler" in note for note in chosen.notes] == [True]

    def test_a_pooler_in_the_checkpoint_is_frozen_like_the_rest(self, bert: Path, tmp_path: Path) -> None:
        Backbone(str(bert)).load(2).save_pretrained(tmp_path / "whole")
        method = LoRA()
        names = trainable_names(method.adapt(method.load_backbone(Backbone(str(tmp_path / "whole")), 2)))
        assert not [name for name in names if "pooler" in name]
        assert method.notes == []

    def test_stored_head_is_kept_where_the_classes_are_as_many(self, roberta: Path, tmp_path: Path) -> None:
        first = Backbone(str(roberta)).load(2)
        first.save_pretrained(tmp_path / "tuned")
        again = Backbone(str(tmp_path / "tuned")).load(2)
        name = "classifier.out_proj.weight"
        assert torch.equal(first.get_parameter(name), again.get_parameter(name))
        assert loading_notes(again) == []

    def test_stored_head_of_another_size_starts_afresh_and_says_so(self, roberta: Path, tmp_path: Path) -> None:
        Backbone(str(roberta)).load(2).save_pretrained(tmp_path / "tuned")
        again = Backbone(str(tmp_path / "tuned")).load(5)
        assert again.get_parameter("classifier.out_proj.weight").shape == (5, 32)
        assert any("another number of classes" in note for note in loading_notes(again))
        assert head_modules(again) == ["classifier"]


class TestErrors:
    def test_folder_without_a_model(self, tmp_path: Path) -> None:
        assert "has no config.json" in one_line(tmp_path)

    def test_folder_without_weights(self, roberta: Path) -> None:
        (roberta / "model.safetensors").unlink()
        assert "holds no weights" in one_line(roberta)

    def test_missing_shard(self, roberta: Path) -> None:
        (roberta / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
        (roberta / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "model-00001-of-00002.safetensors is not there" in one_line(roberta)

    def test_damaged_weights(self, roberta: Path) -> None:
        weights = roberta / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        assert "is cut short or damaged, fetch it again" in one_line(roberta)

    def test_damaged_config(self, roberta: Path) -> None:
        (roberta / "config.json").write_text("{")
        assert "cannot be loaded" in one_line(roberta)

    def test_weights_of_another_architecture(self, roberta: Path, tmp_path: Path) -> None:
        distilbert = save_backbone("distilbert", tmp_path / "distilbert")
        shutil.copy(distilbert / "model.safetensors", roberta)
        assert "do not belong to its config.json" in one_line(roberta)

    def test_weights_of_another_size(self, roberta: Path) -> None:
        config = json.loads((roberta / "config.json").read_text())
        (roberta / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
        assert "has another shape" in one_line(roberta)

    def test_a_pickle_that_poses_as_weights_is_not_run(self, roberta: Path, tmp_path: Path) -> None:
        class Payload:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (tmp_path / "ran",)

        (roberta / "model.safetensors").unlink()
        for write in (
            lambda file: torch.save({"a": Payload()}, file),
            lambda file: file.write_bytes(pickle.dumps(Payload())),
        ):
            write(roberta / "pytorch_model.bin")
            assert "cannot be loaded" in one_line(roberta)
            assert not (tmp_path / "ran").exists()

    def test_code_beside_a_model_is_not_run(self, tmp_path: Path) -> None:
        auto_map = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto_map}))
        (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        (tmp_path / "model.safetensors").touch()
        assert "Python code of its own" in one_line(tmp_path)
        assert not (tmp_path / "ran").exists()

    def test_an_architecture_without_a_head(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
        (tmp_path / "model.safetensors").touch()
        assert "is a mamba model, which transformers has no classification head for" in one_line(tmp_path)

    def test_peft_adapter(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text("{}")
        assert "is a PEFT adapter" in one_line(tmp_path)

    def test_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert "no such folder" in one_line(tmp_path / "nowhere")
        assert "no such folder" in one_line("./nowhere")

    @pytest.mark.usefixtures("no_hub")
    @pytest.mark.parametrize("name", ["roberta-base", "some/model"])
    def test_no_network_names_the_offline_way_at_once(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # At once: nobody is asked, and nothing is tried again after a while.
        waited: list[Any] = []
        sleep, here = time.sleep, threading.get_ident()
        monkeypatch.setattr(socket.socket, "connect", lambda _, address: waited.append(address))
        monkeypatch.setattr(time, "sleep", lambda s: waited.append(s) if threading.get_ident() == here else sleep(s))
        line = one_line(name)
        assert waited == []
        assert line.endswith("use model_name_or_path=DIR (a local folder) or model_name_or_path='embedded'")
        with pytest.raises(UserError, match="model_name_or_path='embedded'") as refused:
            load_tokenizer(name)
        way = "use --model.model_name_or_path DIR (a local folder) or --config configs/offline.yaml"
        assert refused.value.worded(Setting.as_flag).endswith(way)

    def test_attention_that_cannot_run(self, roberta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert "needs a CUDA GPU; use attn_implementation='sdpa'" in one_line(
            roberta, attn_implementation="flash_attention_2"
        )
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr("peft_lightning.backbone.architectures.find_spec", lambda name: None)
        assert "install flash-attn or use attn_implementation='sdpa'" in one_line(
            roberta, attn_implementation="flash_attention_2"
        )
        assert "'flash' is unknown" in one_line(roberta, attn_implementation="flash")


class TestIdentity:
    def test_it_is_the_hash_of_the_weights(self, roberta: Path) -> None:
        digest = hashlib.sha256((roberta / "model.safetensors").read_bytes()).hexdigest()
        assert Backbone(str(roberta)).identity() == {
            "name": str(roberta),
            "revision": None,
            "sha256": digest,
            "model_type": "roberta",
        }

    def test_weights_that_changed_in_place_are_another_backbone(self, roberta: Path) -> None:
        backbone = Backbone(str(roberta))
        before = backbone.identity()["sha256"]
        model = backbone.load(2)
        nn.init.ones_(model.get_parameter("roberta.encoder.layer.0.output.dense.weight"))
        model.save_pretrained(roberta)
        assert backbone.identity()["sha256"] != before

    def test_every_shard_counts(self, roberta: Path) -> None:
        model = Backbone(str(roberta)).load(2)
        (roberta / "model.safetensors").unlink()
        model.save_pretrained(roberta, max_shard_size="20KB")
        shards = sorted(roberta.glob("model-*.safetensors"))
        assert len(shards) > 1
        before = Backbone(str(roberta)).identity()["sha256"]
        content = bytearray(shards[-1].read_bytes())
        content[-1] ^= 1
        shards[-1].write_bytes(content)
        assert Backbone(str(roberta)).identity()["sha256"] != before

    def test_a_hub_model_is_named_by_its_commit_and_its_blob(
        self, roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit, digest = "c" * 40, "d" * 64
        repository = tmp_path / "hub" / "models--some--model"
        snapshot = repository / "snapshots" / commit
        for folder in (snapshot, repository / "blobs", repository / "refs"):
            folder.mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        for name, blob in {"config.json": "e" * 40, "model.safetensors": digest}.items():
            shutil.copy(roberta / name, repository / "blobs" / blob)
            (snapshot / name).symlink_to(repository / "blobs" / blob)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        locations._hub_answers.cache_clear()
        backbone = Backbone("some/model")
        assert backbone.identity() == {
            "name": "some/model",
            "revision": commit,
            "sha256": digest,
            "model_type": "roberta",
        }
        assert replace(backbone, revision="main").load(2).config.num_labels == 2


class TestTokenizer:
    def test_vocab_and_merges_are_enough(self, roberta: Path) -> None:
        vocabulary = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "ab"]
        (roberta / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(vocabulary)}))
        (roberta / "merges.txt").write_text("#version: 0.2\na b\n")
        tokenizer = load_tokenizer(str(roberta))
        assert tokenizer.is_fast
        assert tokenizer("abb")["input_ids"] == [0, 7, 6, 2]

    def test_no_vocabulary_is_one_line(self, roberta: Path) -> None:
        with pytest.raises(UserError, match="holds no vocabulary"):
            load_tokenizer(str(roberta))

    def test_no_tokenizer_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"has no config\.json"):
            load_tokenizer(str(tmp_path))


def test_tiny_backbones_cover_the_architectures_the_readme_names() -> None:
    assert {"roberta", "bert", "distilbert", "electra", "albert", "deberta-v2", "xlm-roberta", "modernbert"} == set(
        CONFIGS
    )
