"""This project: `python -m peft_lightning fit` with the method's recipe, and the clock as a callback."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from side_by_side.peer_job import PeerJob
from side_by_side.shared_reviews import DATA_SEED, N_VAL


def command(job: PeerJob, result: Path) -> list[str]:
    """Returns the command line after the Python interpreter.

    Args:
        job: what to train; its words come last and so override the rest.
        result: the file for the clock's figures.
    """
    clock = {
        "class_path": "side_by_side.lightning_clock.RecordedClock",
        "init_args": {
            "warmup_steps": job.warmup_steps,
            "steps": job.steps,
            "tokens_per_step": job.tokens_per_step,
            "result": str(result),
            "saves": job.kind == "whole",
        },
    }
    settings: dict[str, Any] = {
        "seed_everything": job.seed,
        "model.model_name_or_path": job.backbone,
        "model.learning_rate": job.learning_rate,
        "data.source": job.reviews,
        "data.seed": DATA_SEED,
        "data.n_train": job.n_train,
        "data.n_val": N_VAL,
        "data.n_test": job.n_test or job.devices,  # a row for each process
        "data.max_length": job.max_length,
        "data.batch_size": job.batch_size,
        "trainer.max_steps": job.steps,
        "trainer.max_epochs": -1,
        # No peer validates in between.
        "trainer.limit_val_batches": 0,
        "trainer.log_every_n_steps": job.log_every,
        "trainer.callbacks": json.dumps([clock]),
        "test_after_fit": "true" if job.n_test else "false",
        # A whole job saves as often as the Trainer's does.
        "checkpoint.every_n_steps": 500 if job.kind == "whole" else 0,
        "checkpoint.max_time_share": 1,
    }
    if job.recipes == "decoder":  # as no peer does otherwise
        settings |= {"data.truncation": "head", "trainer.accumulate_grad_batches": 1}
    if job.devices > 1:
        settings["trainer.devices"] = job.devices
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    words = [word.replace("{method}", job.method) for word in job.words]
    return ["-m", "peft_lightning", "fit", "--config", f"configs/{job.recipes}/{job.method}.yaml", *flags, *words]


def recorded(folder: Path) -> dict[str, Any]:
    """Reads what the run itself recorded: the final loss, and the test accuracy where there was a test.

    Args:
        folder: the working directory of the run.
    """
    losses: list[float] = []
    for path in folder.glob("lightning_logs/*/version_0/history.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            losses += [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "train/loss"]
    figures: dict[str, Any] = {"final_loss": losses[-1] if losses else None}
    for path in folder.glob("lightning_logs/*/version_0/results.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        figures["trained_parameters"] = (record["params"] or {}).get("trainable")
        if "test/acc" in record["metrics"]:
            figures["test_accuracy"] = record["metrics"]["test/acc"]
    return figures
