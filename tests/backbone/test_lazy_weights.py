"""Weights read a tensor at a time are the weights, and take no more memory than the largest of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from peft_lightning.backbone.lazy_weights import lazy_weights
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import MANY_WEIGHTS, Quantisation, quantising_device, require_quantising
from peft_lightning.errors import Setting, UserError
from tests.methods.tiny_decoders import save_decoder, tiny_config

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize("mapped", [False, True])
def test_every_type_and_shape_is_read_to_the_bit(mapped: bool, tmp_path: Path) -> None:
    kinds = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    tensors = {
        **{str(kind): torch.randn(3, 5).to(kind) for kind in kinds},
        "whole": torch.arange(7),
        "scalar": torch.tensor(3.0),
        "none": torch.empty(0, 4),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = lazy_weights([tmp_path / "model.safetensors"], mapped)
    assert found is not None
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].get_shape() == list(tensor.shape)
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name][...], tensor)
    assert torch.equal(found["whole"][2:4], tensors["whole"][2:4])


def test_what_is_read_for_a_gpu_is_let_go_of_with_the_tensor(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"first": torch.ones(2**20), "second": torch.full((2**20,), 2.0)}, file)
    found = lazy_weights([file], mapped=True)
    assert found is not None

    def pages() -> int:
        return Path("/proc/self/maps").read_text().count(str(file))

    second = found["second"][...]
    assert pages() == 1
    assert second.sum() == 2 * 2**20
    second.zero_()  # a copy of this process: the file stays as it is
    assert found["second"][...].sum() == 2 * 2**20
    del second
    assert pages() == 0


def test_a_file_that_was_cut_since_is_an_error_where_its_pages_are_mapped(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"only": torch.ones(2**20)}, file)
    found = lazy_weights([file], mapped=True)
    assert found is not None
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="greater than file size"):
        _ = found["only"][...]


def test_other_formats_are_left_to_transformers(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert lazy_weights([tmp_path / "pytorch_model.bin"]) is None


@pytest.mark.parametrize("cut", [4, 40, -3])
def test_a_damaged_file_is_one_line(cut: int, tmp_path: Path) -> None:
    folder = save_decoder("qwen2", tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:cut])
    with pytest.raises(UserError) as refused:
        Backbone(str(folder), quantisation=Quantisation("nf4")).load(2)
    assert "\n" not in str(refused.value)
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_shards_give_the_bits_of_one_file_and_of_transformers_own_reading(
    bits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_decoder("qwen2", tmp_path / "whole", hidden_size=64)
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    quantisation = Quantisation(bits)  # type: ignore[arg-type]

    def state(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        loaded = Backbone(str(tmp_path / name), quantisation=quantisation).load(2).state_dict()
        return {key: value for key, value in loaded.items() if isinstance(value, torch.Tensor)}

    lazily, in_shards = state("whole"), state("sharded")
    monkeypatch.setattr("peft_lightning.backbone.reading.lazy_weights", lambda files, mapped: None)
    by_transformers = state("whole")
    assert lazily.keys() == in_shards.keys() == by_transformers.keys()
    for key, value in lazily.items():
        assert torch.equal(value, in_shards[key]), key
        assert torch.equal(value, by_transformers[key]), key


def test_the_gpu_quantises_many_weights_or_what_it_is_asked_to() -> None:
    with torch.device("meta"):
        few, many = torch.nn.Linear(10, 10), torch.nn.Linear(2**15, MANY_WEIGHTS // 2**15 + 1)
    assert quantising_device("auto", GPU, few) == CPU
    assert quantising_device("auto", GPU, many) == GPU
    assert quantising_device("auto", CPU, many) == CPU
    assert quantising_device("cpu", GPU, many) == CPU
    assert quantising_device("gpu", GPU, few) == GPU
    with pytest.raises(UserError, match="no CUDA GPU to quantise on") as refused:
        require_quantising(Quantisation("nf4"), "gpu", CPU)
    assert refused.value.worded(Setting.as_flag).endswith("use --model.quantize_on cpu, or leave it out")


def test_what_is_quantised_elsewhere_comes_in_half_the_width_but_for_the_head(tmp_path: Path) -> None:
    """The way of the GPU, walked on the CPU: no table of embeddings in 32 bits in between."""
    from peft_lightning.backbone.quantised import quantisation_config
    from peft_lightning.backbone.reading import Quantising, read_quantised

    folder = save_decoder("qwen2", tmp_path / "model", hidden_size=64)
    config = quantisation_config(Quantisation("nf4"), torch.bfloat16, ["score"])
    quantising = Quantising(config, CPU, ["score"], torch.bfloat16)
    model, info = read_quantised(str(folder), None, 2, quantising, attn_implementation="sdpa")
    assert info["missing_keys"] == {"score.weight"}
    assert type(model).__module__ == "transformers.models.qwen2.modeling_qwen2"
    kinds = {name: weight.dtype for name, weight in model.named_parameters() if weight.dtype != torch.uint8}
    assert kinds.pop("score.weight") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    stored = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.get_parameter("model.embed_tokens.weight"), stored.bfloat16())


_LOADING = """
import json, resource, sys, torch
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
import bitsandbytes.nn, transformers.models.qwen2.modeling_qwen2, transformers.quantizers.auto
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
model = Backbone(sys.argv[1], quantisation=Quantisation("nf4")).load(2)
print(json.dumps({"before": before, "after": peak()}))
"""


@pytest.mark.slow
def test_host_memory_never_holds_more_than_a_tensor_beside_the_model(tmp_path: Path) -> None:
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 8, "vocab_size": 2048}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny_config("qwen2", **sizes))
    model.to_empty(device="cpu").save_pretrained(tmp_path, max_shard_size="32MB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    size_mib = sum(file.stat().st_size for file in shards) / 2**20
    assert len(shards) > 5
    assert size_mib > 200
    done = subprocess.run([sys.executable, "-c", _LOADING, str(tmp_path)], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    # 35 MiB of packed weights, 6 of embeddings, a tensor of 9. Files in memory would be all of their size.
    assert figures["after"] - figures["before"] < 0.5 * size_mib, figures
