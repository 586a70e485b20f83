"""Parameter counts at the size of roberta-base: the study's published ones, and those that the recipes state."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

from peft_lightning import methods
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.methods import IA3, FullFineTuning, HeadOnly, IA3LoRA, LoRA, Method, QLoRA
from peft_lightning.methods.parameters import count_parameters
from tests.samples import mostly_slow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD = 592_130
TOTAL = 124_647_170
RECIPES = Path(__file__).resolve().parents[2] / "configs/peft"
# The weights that each recipe of configs/peft/ trains in the encoder. Its head comment has the sum.
ADAPTERS = {
    "adalora": 331_920,
    "beft": 9_216,
    "boft": 165_888,
    "c3a": 55_296,
    "corda": 589_824,
    "delora": 294_936,
    "dora": 608_256,
    "eva": 589_824,
    "fourierft": 24_000,
    "gralora": 1_179_648,
    "hira": 1_179_648,
    "hra": 147_456,
    "lily": 247_296,
    "ln_tuning": 38_400,
    "loha": 589_824,
    "lokr": 295_296,
    "lora_ga": 1_179_648,
    "lora_plus": 294_912,
    "miss": 1_179_648,
    "oft": 285_696,
    "olora": 1_179_648,
    "p_tuning": 229_376,
    "pissa": 589_824,
    "prefix_tuning": 368_640,
    "prompt_tuning": 7_680,
    "psoft": 27_048,
    "pvera": 30_720,
    "qdora": 608_256,
    "qmiss": 1_179_648,
    "qvera": 43_008,
    "randlora": 718_848,
    "road": 165_888,
    "rslora": 2_359_296,
    "shira": 1_179_648,
    "tinylora": 1_536,
    "unilora": 23_040,
    "vblora": 74_880,
    "vera": 43_008,
    "waveft": 62_208,
}
# The others take a second each, and those that factorise or quantise every weight take several.
FAST = ("adalora", "c3a", "dora", "prompt_tuning", "vera")


@pytest.fixture(scope="module")
def roberta_base(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    from safetensors.torch import save_file
    from transformers import RobertaConfig, RobertaForMaskedLM

    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in RobertaForMaskedLM(config).state_dict().items()}
    folder: Path = tmp_path_factory.mktemp("roberta-base")
    config.save_pretrained(folder)
    weights = {
        name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items() if name.startswith("roberta.")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return Backbone(str(folder))


@pytest.mark.parametrize(
    ("method", "trainable", "adapter"),
    [
        (FullFineTuning(), 124_647_170, 0),
        (LoRA(r=16, lora_alpha=32, lora_dropout=0.1, target_modules=["query", "value"]), 1_181_954, 589_824),
        (QLoRA(r=8, lora_alpha=32, lora_dropout=0.05, target_modules=["query", "key", "value"]), 1_034_498, 442_368),
        (IA3(), 656_642, 64_512),
        (IA3LoRA(r=16), 1_246_466, 589_824 + 64_512),
        (HeadOnly(), HEAD, 0),
    ],
    ids=["full", "lora", "qlora", "ia3", "ia3_lora", "head"],
)
def test_published_counts(method: Method, trainable: int, adapter: int, roberta_base: Backbone) -> None:
    counts = count_parameters(method.adapt(method.load_backbone(roberta_base, num_labels=2)))
    assert (counts.trainable, counts.adapter, counts.head, counts.total) == (trainable, adapter, HEAD, TOTAL)
    assert not method.notes


@pytest.fixture(scope="module")
def encoder(roberta_base: Backbone) -> PreTrainedModel:
    return FullFineTuning().load_backbone(roberta_base, num_labels=2)


@pytest.mark.parametrize("name", mostly_slow(ADAPTERS, fast=FAST))
def test_a_recipe_trains_as_many_weights_as_its_comment_says(
    name: str, roberta_base: Backbone, encoder: PreTrainedModel
) -> None:
    text = (RECIPES / f"{name}.yaml").read_text()
    stated: dict[str, Any] = yaml.safe_load(text)["model"]
    made = getattr(methods, stated["method"]["class_path"].rpartition(".")[2])
    method: Method = made(**stated["method"]["init_args"])
    if bits := stated.get("quantization"):
        model = method.load_backbone(replace(roberta_base, quantisation=Quantisation(bits)), num_labels=2)
    else:
        # A copy that shares its 124 million weights.
        model = copy.deepcopy(encoder, {id(weight): weight for weight in encoder.parameters()})
    counts = count_parameters(method.adapt(model))
    assert (counts.adapter, counts.head, counts.total) == (ADAPTERS[name], HEAD, TOTAL)
    assert not method.notes
    comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    assert f"It trains {counts.adapter:,} weights, " in comment
    assert f"with the head {counts.trainable:,}." in comment


def test_every_recipe_of_a_peft_type_is_counted_here_and_in_the_docs() -> None:
    assert sorted(path.stem for path in RECIPES.glob("*.yaml")) == sorted(ADAPTERS)
    rows = (RECIPES.parents[1] / "docs/recipes.md").read_text().splitlines()
    for name, adapter in ADAPTERS.items():
        (row,) = [row.split(" | ") for row in rows if row.startswith(f"| `{name}` |")]
        assert row[3] == f"{adapter:,}"
        rate = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["model"]["learning_rate"]
        assert float(row[4].partition(":")[0]) == rate
