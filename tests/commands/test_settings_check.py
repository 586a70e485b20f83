import json
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.commands.settings_check import devices_here, refuse_settings
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.errors import Setting, UserError
from tests.compare.plan.test_plan import OFFLINE, STUDY, recipe

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LORA, FULL, QLORA = (str(CONFIGS / f"{name}.yaml") for name in ("lora", "full", "qlora"))
BOFT, PROMPTS = (str(CONFIGS / f"peft/{name}.yaml") for name in ("boft", "prompt_tuning"))
FACTORS = ("--model.method.config.boft_n_butterfly_factor", "2")
HERE_ALONE = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has the means")


def settings(recipes: list[str], *overrides: str) -> list[tuple[str, dict[str, Any]]]:
    plan = build_plan(recipes, [1], [OFFLINE], overrides)
    return [(recipe.label, plan.settings_of(recipe)) for recipe in plan.recipes]


def refusal(recipes: list[str], *overrides: str, here: bool = True) -> str | None:
    """What is said of the first recipe that is refused; None if all are taken."""
    try:
        refuse_settings(settings(recipes, *overrides), here)
    except UserError as error:
        return error.worded(Setting.as_flag)
    return None


def test_what_fit_takes_is_not_refused_and_what_it_refuses_is_in_its_words() -> None:
    assert refusal(STUDY[1:], "--data.n_train", "100") is None
    assert refusal(STUDY, "--data.n_trian", "1") == "full: there is no --data.n_trian: did you mean --data.n_train?"
    assert refusal(STUDY, "--data.n_train", "x") == "full: --data.n_train x: it takes a whole number or null"
    refused = refusal(STUDY[1:], "--model.method.r", "4")  # LoRA and QLoRA have an r
    assert refused is not None
    assert refused.startswith("ia3: ")
    assert "IA3 has no r" in refused


@pytest.mark.parametrize(
    ("recipes", "words", "said"),
    [
        (
            [LORA, FULL],
            ["--model.quantization", "nf4"],
            "full: full fine-tuning cannot train weights in nf4: leave --m",
        ),
        ([LORA, QLORA], ["--model.quantization", "int8"], "qlora: qlora quantises the backbone itself"),
        (
            [LORA, FULL],
            ["--trainer.precision", "bf16-true"],
            "full: --trainer.precision bf16-true: full trains weights",
        ),
        ([LORA, PROMPTS], ["--model.gradient_checkpointing", "true"], "prompt_tuning: PROMPT_TUNING gets no gradient"),
        ([LORA], ["--model.backbone_dtype", "bfloat16"], "does not go with --trainer.precision 32-true"),
        ([LORA], ["--model.method.r", "0"], "lora: r is 0; a rank is at least 1"),
    ],
)
def test_what_a_method_cannot_be_trained_with_is_refused_with_the_recipe_s_name(
    recipes: list[str], words: list[str], said: str
) -> None:
    assert said in str(refusal(recipes, *words))


@HERE_ALONE
@pytest.mark.parametrize(
    ("recipes", "words", "said"),
    [
        ([LORA, QLORA], ["--model.quantize_on", "gpu"], "qlora: there is no CUDA GPU to quantise on"),
        ([BOFT], list(FACTORS), "boft: 2 butterfly factors need PEFT's CUDA extension"),
    ],
)
def test_what_this_machine_lacks_is_refused_only_for_runs_on_it(
    recipes: list[str], words: list[str], said: str
) -> None:
    assert said in str(refusal(recipes, *words))
    assert refusal(recipes, *words, here=False) is None


def test_a_plugin_that_may_set_the_precision_leaves_it_to_the_run(tmp_path: Path) -> None:
    arguments = {"precision": "bf16-mixed", "device": "cpu"}
    plugins = [{"class_path": "lightning.pytorch.plugins.MixedPrecision", "init_args": arguments}]
    mine, dtype = [recipe(tmp_path / "mine.yaml")], "--model.backbone_dtype=bfloat16"
    assert refusal(mine, dtype) is not None
    assert refusal(mine, dtype, f"--trainer.plugins={json.dumps(plugins)}") is None


def test_this_machine_has_a_processor_at_least() -> None:
    found = devices_here()
    assert found["cpu"] is not None
    assert found["cpu"].endswith("threads")
