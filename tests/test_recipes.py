import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from peft_lightning import methods
from peft_lightning.__main__ import main
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.quantised import Quantisation
from peft_lightning.compare.stages.forecast import EPOCHS
from peft_lightning.compare.stages.forecast_runs import BATCHES
from peft_lightning.methods import Method
from peft_lightning.methods.parameters import count_parameters
from peft_lightning.recipes import merge, read_config
from tests.samples import mostly_slow

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
OVERLAYS = ("offline.yaml", "lean.yaml")
RECIPES = sorted(path for path in CONFIGS.rglob("*.yaml") if path.name not in OVERLAYS)
OF_PEFT = [path for path in RECIPES if path.parent.name == "peft"]


def parsed(*words: str) -> dict[str, Any]:
    """What the command line makes of the words, as `--print_config` says it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main(["fit", *words, "--print_config"])
    assert ended.value.code == 0
    config: dict[str, Any] = yaml.safe_load(printed.getvalue())
    return config


def test_every_recipe_parses() -> None:
    seen = len(OF_PEFT)  # test_a_recipe_of_a_peft_type_parses_and_takes_both_overlays parses these
    for path in RECIPES:
        if path in OF_PEFT:
            continue
        offline = parsed("--config", str(path), "--config", "configs/offline.yaml")
        assert offline["trainer"]["max_epochs"] == 3
        assert offline["model"]["model_name_or_path"] == offline["data"]["source"] == "embedded"
        seen += 1
    assert seen == 60


@pytest.mark.slow
def test_the_offline_overlay_leaves_every_method_alone() -> None:
    for path in set(RECIPES) - set(OF_PEFT):
        config = parsed("--config", str(path))
        offline = parsed("--config", str(path), "--config", "configs/offline.yaml")
        assert offline["model"]["method"] == config["model"]["method"]


@pytest.mark.slow
def test_every_recipe_takes_the_lean_overlay_which_leaves_what_it_trains_alone() -> None:
    lean = yaml.safe_load((CONFIGS / "lean.yaml").read_text())
    for path in RECIPES:
        if path in OF_PEFT:
            continue
        before = parsed("--config", str(path))
        config = parsed("--config", str(path), "--config", "configs/lean.yaml")
        for section, settings in lean.items():
            if not isinstance(settings, dict):
                before[section] = settings
                continue
            assert config[section].items() >= settings.items()
            before[section] |= settings
        assert config == before


@pytest.mark.slow
@pytest.mark.parametrize("path", OF_PEFT, ids=lambda path: path.stem)
def test_a_recipe_of_a_peft_type_parses_and_takes_both_overlays(path: Path) -> None:
    stated = yaml.safe_load(path.read_text())
    config = parsed("--config", str(path), "--config", "configs/offline.yaml", "--config", "configs/lean.yaml")
    method = config["model"]["method"]
    assert method["class_path"] == stated["model"]["method"]["class_path"]
    assert method["init_args"] | stated["model"]["method"]["init_args"] == method["init_args"]
    expected = stated
    for overlay in OVERLAYS:
        expected = merge(expected, read_config(CONFIGS / overlay))
    del expected["model"]["method"]
    for section, settings in expected.items():
        if isinstance(settings, dict):
            assert config[section] | settings == config[section]
        else:
            assert config[section] == settings


def test_recipes_of_peft_types_differ_from_lora_s_in_the_method_its_rate_and_its_memory_alone() -> None:
    lora = read_config(CONFIGS / "lora.yaml")
    for path in OF_PEFT:
        own = read_config(path)
        own["model"] |= {name: lora["model"][name] for name in ("method", "learning_rate")}
        if own["model"].pop("quantization", None) == "nf4":
            assert own["model"]["optimizer"] == "paged_adamw_8bit"
            own["model"]["optimizer"] = lora["model"]["optimizer"]
        assert own == lora, path


@pytest.mark.parametrize(
    "path",
    mostly_slow(OF_PEFT, fast=[path for path in OF_PEFT if path.stem in ("adalora", "c3a", "p_tuning", "vera")]),
    ids=lambda path: path.stem,
)
def test_a_recipe_of_a_peft_type_fits_the_backbone_in_the_package_and_a_forecast_s_few_steps(path: Path) -> None:
    stated = read_config(path)["model"]
    made = getattr(methods, stated["method"]["class_path"].rpartition(".")[2])
    method: Method = made(**stated["method"]["init_args"])
    bits = stated.get("quantization")
    backbone = Backbone("embedded", quantisation=bits and Quantisation(bits))
    model = method.adapt(method.load_backbone(backbone, num_labels=2))
    method.before_training(model, EPOCHS * BATCHES)
    assert count_parameters(model).adapter > 0
    assert not method.notes


@pytest.mark.parametrize("path", OF_PEFT, ids=lambda path: path.stem)
def test_a_recipe_of_a_peft_type_names_paper_and_source_and_states_its_layers(path: Path) -> None:
    head, _, _ = path.read_text().partition("seed_everything")
    words = " ".join(line.removeprefix("#").strip() for line in head.splitlines())
    assert "arXiv:" in words.partition(" A recipe for ")[0] or "openreview.net" in words.partition(" A recipe for ")[0]
    assert "Not measured here: roberta-base's weights were not at hand." in words
    assert any(source in words for source in (".sh", ".py", ".ipynb", "README.md", "method_comparison", "neighbour's"))
    arguments = yaml.safe_load(path.read_text())["model"]["method"]["init_args"]
    arguments = arguments.get("config", arguments)
    assert arguments.get("target_modules") or arguments["num_virtual_tokens"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_recipe_is_complete(path: Path) -> None:
    stated = yaml.safe_load(path.read_text())
    method = stated["model"]["method"]
    assert method["class_path"].rsplit(".", 1)[0] == "peft_lightning.methods"
    assert {"learning_rate", "schedule", "warmup_ratio", "optimizer", "gradient_checkpointing"} <= stated[
        "model"
    ].keys()
    assert {"source", "n_train", "n_test", "max_length", "batch_size", "seed"} <= stated["data"].keys()
    assert {"max_epochs", "precision", "devices"} <= stated["trainer"].keys()


@pytest.mark.parametrize(
    ("name", "rate", "source"),
    [
        ("full", 2e-5, "RoBERTa (Liu et al. 2019), table 10"),
        ("lora", 3e-4, "examples/sequence_classification/LoRA.ipynb"),
        ("qlora", 3e-4, "examples/sequence_classification/LoRA.ipynb"),
        ("ia3", 3e-3, "T-Few"),
        ("head", 1e-3, "Kingma & Ba 2015"),
    ],
)
def test_a_method_s_own_recipe_trains_as_the_source_that_it_names(name: str, rate: float, source: str) -> None:
    model = parsed("--config", f"configs/{name}.yaml")["model"]
    assert (model["learning_rate"], model["schedule"], model["warmup_ratio"]) == (rate, "linear", 0.06)
    head, _, _ = (CONFIGS / f"{name}.yaml").read_text().partition("seed_everything")
    assert source in head
    assert "Not measured here" in head


@pytest.mark.parametrize(
    ("name", "rate", "schedule", "warmup", "source"),
    [
        ("lora", 1e-4, "cosine", 0.1, "examples/train_lora/qwen3_lora_sft.yaml"),
        ("dora", 1e-4, "cosine", 0.1, "commonsense_reasoning/llama3_8B_DoRA.sh"),
        ("qlora", 1e-4, "cosine", 0.1, "examples/train_qlora/llama3_lora_sft_otfq.yaml"),
        ("full", 1e-5, "cosine", 0.1, "examples/train_full/llama3_full_sft.yaml"),
        ("7b-qlora", 2e-4, "constant", 0.03, "scripts/finetune_guanaco_7b.sh"),
        ("7b-qlora-lean", 2e-4, "constant", 0.03, "scripts/finetune_guanaco_7b.sh"),
    ],
)
def test_a_decoder_s_recipe_trains_as_the_source_that_it_names(
    name: str, rate: float, schedule: str, warmup: float, source: str
) -> None:
    config = read_config(CONFIGS / f"decoder/{name}.yaml")
    model = config["model"]
    assert (model["learning_rate"], model["schedule"], model["warmup_ratio"]) == (rate, schedule, warmup)
    assert (config["trainer"]["precision"], config["data"]["add_eos_token"]) == ("bf16-mixed", True)
    # Adapters stand beside weights in half the width, as the sources have it; trained weights have 32 bits.
    dtypes = {"full": "float32", "7b-qlora-lean": "smallest"}
    assert model["backbone_dtype"] == dtypes.get(name, "bfloat16")
    head, _, _ = (CONFIGS / f"decoder/{name}.yaml").read_text().partition("seed_everything")
    assert source in head
    assert "Not measured here" in " ".join(line.removeprefix("#").strip() for line in head.splitlines())


def test_lora_dora_and_qlora_of_decoders_differ_in_the_method_and_the_optimiser_alone() -> None:
    lora, dora, qlora = (read_config(CONFIGS / f"decoder/{name}.yaml") for name in ("lora", "dora", "qlora"))
    assert dora["model"]["method"]["init_args"].pop("use_dora")
    assert dora == lora
    for name in ("quant_type", "use_double_quant"):
        del qlora["model"]["method"]["init_args"][name]
    qlora["model"]["method"]["class_path"] = "peft_lightning.methods.LoRA"
    qlora["model"]["optimizer"] = "adamw"
    assert qlora == lora


def test_the_lean_recipe_of_7_billion_is_the_other_with_the_lean_overlay_and_smaller_adapters() -> None:
    lean = read_config(CONFIGS / "decoder/7b-qlora-lean.yaml")
    large = merge(read_config(CONFIGS / "decoder/7b-qlora.yaml"), read_config(CONFIGS / "lean.yaml"))
    smaller = {"r": 16, "target_modules": ["q_proj", "v_proj"]}
    assert large["model"]["method"]["init_args"] | smaller == lean["model"]["method"]["init_args"]
    large["model"]["method"] = lean["model"]["method"]
    assert large == lean


@pytest.mark.parametrize("folder", ["study", "tuned_on_embedded"])
def test_recipes_of_one_method_train_the_same_weights_on_the_same_reviews(folder: str) -> None:
    names = sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml"))
    assert {"full", "lora", "qlora", "ia3"} <= set(names)
    for name in names:
        own, other = (yaml.safe_load((CONFIGS / part / f"{name}.yaml").read_text()) for part in ("", folder))
        for model in (own["model"], other["model"]):
            del model["learning_rate"], model["schedule"], model["warmup_ratio"]
        # The study read the beginning alone.
        assert own["data"].pop("truncation") == "head_tail"
        assert other["data"].pop("truncation", None) == (None if folder == "study" else "head_tail")
        assert own == other


@pytest.mark.parametrize("name", ["full", "lora", "qlora", "ia3"])
def test_the_study_s_recipes_are_as_published(name: str) -> None:
    config = parsed("--config", f"configs/study/{name}.yaml")
    assert config["seed_everything"] == 42
    assert config["model"]["model_name_or_path"] == "roberta-base"
    assert config["model"]["learning_rate"] == 2e-5
    assert config["data"] | {"source": "imdb", "n_train": 3000, "n_test": 2000} == config["data"]
    assert (config["data"]["max_length"], config["data"]["batch_size"]) == (256, 8)


def test_the_study_s_recipes_differ_in_nothing_but_the_method_and_its_optimiser() -> None:
    configs = [parsed("--config", f"configs/study/{name}.yaml") for name in ("full", "lora", "qlora", "ia3")]
    for config in configs:
        del config["model"]["method"], config["model"]["optimizer"]
    assert all(config == configs[0] for config in configs)
