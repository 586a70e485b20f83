"""The runs of `step_by_type.py`: which forms a recipe has, what `fit` reads for each, and what is kept of a run."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from peft_lightning.recipes import Config, merge, read_config
from side_by_side.step_results import Form
from side_by_side.waves import Steps, Timed

# All weights of full fine-tuning are trained, and AdamW loses small steps in bf16.
FLOAT32 = ("full",)
WARMUP, SETTLE = 4, 3
# Starts that are computed from data take 32 batches.
LEAST_BATCHES = 40
N_EVALUATED = 16


def is_quantised(settings: Config) -> bool:
    """Tells whether a recipe's backbone is in four bits as it is."""
    method = settings["model"]["method"].get("init_args") or {}
    return settings["model"].get("quantization") is not None or "quant_type" in method


def settings_of(recipe: Path, form: Form, asked: argparse.Namespace, backbone: str, rows: Path) -> Config:
    """Returns what `fit` reads for a form of a recipe.

    Args:
        recipe: the recipe's file.
        form: one of the forms.
        asked: the command line's arguments.
        backbone: what `model.model_name_or_path` takes.
        rows: the folder of the reviews.
    """
    batches = max(LEAST_BATCHES, steps_of(asked).all)
    model: Config = {
        "model_name_or_path": backbone,
        "backbone_dtype": "float32" if recipe.stem in FLOAT32 else "bfloat16",
    }
    if form == "nf4":
        model["quantization"] = "nf4"
    data = {
        "source": str(rows),
        "n_train": batches * asked.batch_size,
        "n_val": N_EVALUATED,
        "n_test": N_EVALUATED,
        "max_length": asked.max_length,
        "batch_size": asked.batch_size,
    }
    engine = "eager" if form == "eager" else "graph"
    own = {"model": model, "data": data, "trainer": {"precision": "bf16-mixed"}, "engine": engine}
    return merge(read_config(recipe), own)


def steps_of(asked: argparse.Namespace) -> Steps:
    """Returns the steps of a run."""
    return Steps(WARMUP, SETTLE, asked.steps)


def record_of(timed: Timed, steps: int) -> dict[str, Any]:
    """Returns what is kept of a run.

    Args:
        timed: the run.
        steps: how many were timed.
    """
    outcome, record = timed.outcome, timed.outcome.record
    if timed.from_until_s is None or record is None or record.params is None:
        why = f"{timed.late} took too long" if timed.late else outcome.error or "it ended before its timed steps"
        return {"status": "refused" if outcome.mistake else "failed", "why": " ".join(why.split())}
    return {
        "status": "measured",
        "ms_per_step": round(1000 * (timed.from_until_s[1] - timed.from_until_s[0]) / steps, 3),
        "engine": record.engine.name,
        "peak_allocated_gib": record.memory.train_peak_allocated_gib,
        "peak_reserved_gib": record.memory.train_peak_reserved_gib,
        "trainable": record.params.trainable,
        "timed_from_until_s": [round(reading, 3) for reading in timed.from_until_s],
        "notes": record.notes,
    }


def wanted(forms: Iterable[Form], files: Sequence[Path]) -> list[tuple[Form, Path]]:
    """Lists the runs, form by form; what is in four bits as it is has no form of its own for that.

    Args:
        forms: the forms.
        files: the recipes.
    """
    return [(form, file) for form in forms for file in files if form != "nf4" or not is_quantised(read_config(file))]
