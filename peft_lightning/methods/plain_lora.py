"""Rewrites a saved LoRA whose start was taken out of the backbone as one that stands beside the original backbone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# LoRA's starts that take the adapter's first weights out of the backbone's.
_STARTS_IN_BACKBONE = ("pissa", "olora")
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"


def start_in_backbone(arguments: Mapping[str, object]) -> str | None:
    """Returns the start that a LoRA's arguments take out of the backbone's weights; None where they take none.

    Args:
        arguments: The arguments that the user has set.
    """
    start = arguments.get("init_lora_weights")
    return start if isinstance(start, str) and start.lower().startswith(_STARTS_IN_BACKBONE) else None


def as_plain_lora(folder: Path, before: Path) -> None:
    """Rewrites an adapter of PiSSA's or OLoRA's as a plain LoRA of twice the rank.

    Such a start splits a weight W into W' + B₀A₀ and trains B and A from there. The trained weight is
    W' + BA = W + BA - B₀A₀, which is W beside a LoRA of [B, -B₀] and [A; A₀]. PEFT's own conversion
    (``path_initial_model_for_weight_conversion``) computes the same, and leaves out the head, trained biases and DoRA's
    magnitudes.

    Args:
        folder: The saved adapter, which is changed.
        before: The same adapter as it was before training.
    """
    from safetensors.torch import load_file, save_file

    trained, start = load_file(folder / _WEIGHTS), load_file(before / _WEIGHTS)
    for name in trained:
        if "lora_A" in name:
            trained[name] = torch.cat([trained[name], start[name]], dim=0)
        elif "lora_B" in name:
            trained[name] = torch.cat([trained[name], -start[name]], dim=1)
    save_file(trained, folder / _WEIGHTS, metadata={"format": "pt"})
    config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    # The factor of the update stays: alpha / r, or rsLoRA's alpha / sqrt(r).
    more_alpha = math.sqrt(2) if config.get("use_rslora") else 2
    config |= {
        "init_lora_weights": True,
        "r": 2 * config["r"],
        "lora_alpha": more_alpha * config["lora_alpha"],
        "rank_pattern": {key: 2 * rank for key, rank in (config.get("rank_pattern") or {}).items()},
        "alpha_pattern": {key: more_alpha * alpha for key, alpha in (config.get("alpha_pattern") or {}).items()},
    }
    (folder / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
