"""Comparisons as their runs leave them on disk, made in a moment by the writers that the runs use."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from peft_lightning.compare.execution.outcomes import FAILURE
from peft_lightning.compare.plan.plan import Plan, PlannedRecipe
from peft_lightning.compare.stages.tuning import Try, Tuning
from peft_lightning.runs import record as figures
from peft_lightning.runs.predictions import Answers, write_answers
from peft_lightning.runs.record import RunRecord, Status
from peft_lightning.task import SingleLabel

SOURCE = "films"


@dataclass
class Made:
    """What a recipe's runs are to show; accuracy in 0 to 1, memory in GiB, time in seconds."""

    method: str
    accuracy: float = 0.9
    trainable: int = 1_181_954
    adapter: int = 589_824
    head: int = 592_130
    total: int = 124_647_170
    gpu: float | None = 1.35
    cpu: float | None = None
    train_s: float = 240.0
    checkpoint: int = 4_728_000
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    spread: float = 0.004
    parts: tuple[float | None, ...] = (0.47, 0.0044, 0.0088, 0.8)
    class_names: tuple[str, ...] = ("negative", "positive")
    settings: dict[str, Any] = field(default_factory=dict)


FULL = Made(
    "full", 0.914, 124_647_170, 0, 592_130, gpu=2.48, train_s=310.0, checkpoint=498_600_000, learning_rate=2e-5,
    parts=(0.464, 0.464, 0.929, 0.62),
)  # fmt: skip
LORA = Made("lora", 0.912)
QLORA = Made(
    "qlora", 0.905, 1_034_498, 442_368, gpu=1.09, train_s=455.0, checkpoint=4_138_000, optimizer="paged_adamw_8bit",
    parts=(0.2, 0.0039, 0.002, 0.88),
)  # fmt: skip
IA3 = Made("ia3", 0.872, 656_642, 64_512, gpu=1.73, train_s=233.0, checkpoint=2_627_000, learning_rate=1e-2)
FOUR = {"full": FULL, "lora": LORA, "qlora": QLORA, "ia3": IA3}


def plan(recipes: dict[str, Made], seeds: Sequence[int] = (1, 2, 3), folder: Path | None = None) -> Plan:
    """The plan of these recipes; with a folder it is written there."""
    planned = tuple(
        PlannedRecipe(label, f"configs/{label}.yaml", {"model": {"method": {"class_path": _class(made)}}})
        for label, made in recipes.items()
    )
    made_plan = Plan(planned, ("configs/offline.yaml",), tuple(seeds), {"data": {"n_train": "3000"}})
    if folder is not None:
        made_plan.write(folder)
    return made_plan


def comparison(
    folder: Path, recipes: dict[str, Made] | None = None, seeds: Sequence[int] = (1, 2, 3), reviews: int = 400
) -> Path:
    """A comparison whose runs have all finished."""
    recipes = FOUR if recipes is None else recipes
    for run in plan(recipes, seeds, folder).runs(folder):
        made = recipes[run.label]
        write_run(run.folder / "lightning_logs" / made.method / "version_0", made, run.seed, run.label, reviews)
    return folder


def write_run(
    directory: Path,
    made: Made,
    seed: int,
    recipe: str,
    reviews: int = 400,
    status: Status = "finished",
    first_id: int = 0,
    step: int = 3,
    fingerprint: str = "a" * 64,
    source: str = SOURCE,
    n_train: int = 3000,
    n_val: int = 300,
) -> Path:
    """A run's directory: record, settings, history and predictions."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng([seed, *recipe.encode()])
    finished = status == "finished"
    labels = np.arange(reviews) % len(made.class_names)
    # Reviews are hard for everybody or for nobody, and a little for each by chance.
    hard = np.random.default_rng(0).permutation(reviews) / reviews + rng.normal(0, 0.05, reviews)
    right = round(reviews * min(1.0, made.accuracy + made.spread * rng.standard_normal()))
    answered = np.where(hard.argsort().argsort() < right, labels, (labels + 1) % len(made.class_names))
    probabilities = np.full((reviews, len(made.class_names)), 0.1, np.float32)
    probabilities[np.arange(reviews), answered] = 0.9
    accuracy = float((answered == labels).mean())
    if finished:
        ids = np.arange(reviews) * step + first_id
        answers = Answers(ids, labels, probabilities, SingleLabel(made.class_names))
        write_answers(directory / "predictions.parquet", answers)
    weights, gradients, optimizer, activations = made.parts
    config = _config(made, seed, directory, source, reviews, n_train, n_val)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    _write_history(directory / "history.csv", rng, accuracy)
    percent = 100 * made.trainable / made.total
    train_s = made.train_s * (1 + 0.01 * seed)
    record = RunRecord(
        run_id=f"{directory}-{seed}",
        recipe=recipe,
        config_sha256="b" * 64,
        method=made.method,
        seed=seed,
        data_seed=42,
        status=status,
        error=None if finished else f"{status} for a test",
        backbone=figures.BackboneFigures("roberta-base", "e2da8e2f811d", "c" * 64, "roberta"),
        dataset=figures.DatasetFigures(source, fingerprint, n_train, n_val, reviews, 256, 0.42),
        params=figures.ParameterFigures(made.trainable, made.adapter, made.head, made.total, percent),
        memory=figures.MemoryFigures(
            weights, gradients, optimizer, activations if made.gpu is not None else None,
            made.gpu, made.gpu and made.gpu * 1.2, None, None, made.cpu,
        )
        if finished
        else figures.MemoryFigures(),
        time=figures.TimeFigures(9.0, train_s, [train_s / 3] * 3, 30.0, 1125, 9000 / train_s)
        if finished
        else figures.TimeFigures(),
        metrics={"test/acc": accuracy, "test/f1": accuracy - 0.001, "test/auroc": accuracy + 0.05, "val/acc": 0.9}
        if finished
        else {},
        history="history.csv",
        predictions="predictions.parquet" if finished else None,
        checkpoint_bytes=made.checkpoint if finished else None,
        environment=figures.EnvironmentFigures(
            "3.11.7", "2.13.0", "2.6.6", "5.23.0", "0.21.2", "0.50.2",
            "NVIDIA GeForce RTX 3050" if made.gpu is not None else "AMD EPYC, 2 threads",
            "bf16-mixed", False, "0123456789ab",
        ),
    )  # fmt: skip
    record.write(directory / "results.json")
    return directory


def fail(folder: Path, status: str, error: str) -> None:
    """What the runner leaves of a run that died before it had a record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILURE).write_text(json.dumps({"status": status, "error": error}))


def tune(folder: Path, tries: dict[str, int]) -> None:
    """A tuning that gave every recipe so many learning rates, and chose the first."""
    rates = {
        label: tuple(Try(10.0 ** -(place + 3), 0.9 - place / 100, None) for place in range(count))
        for label, count in tries.items()
    }
    Tuning(max(tries.values()), rates, dict.fromkeys(tries, 1e-3), 1).write(folder)


def _class(made: Made) -> str:
    return f"peft_lightning.methods.{made.method}"


def _config(
    made: Made, seed: int, directory: Path, source: str, reviews: int, n_train: int, n_val: int
) -> dict[str, Any]:
    return {
        "seed_everything": seed,
        "trainer": {"precision": "bf16-mixed", "max_epochs": 3, "default_root_dir": str(directory)},
        "model": {
            "method": {"class_path": _class(made), "init_args": {}},
            "model_name_or_path": "roberta-base",
            "gradient_checkpointing": False,
            "optimizer": made.optimizer,
            "learning_rate": made.learning_rate,
            **made.settings,
        },
        "data": {
            "source": source,
            "text_column": "text",
            "label_column": "label",
            "n_train": n_train,
            "n_val": n_val,
            "n_test": reviews,
            "seed": 42,
            "max_length": 256,
            "batch_size": 8,
        },
    }


def _write_history(path: Path, rng: np.random.Generator, accuracy: float) -> None:
    lines = ["step,name,value", "0,params/trainable,1.0"]
    for step in range(25, 1126, 25):
        loss = 0.2 + 0.5 * np.exp(-step / 300) + 0.05 * rng.standard_normal()
        lines.append(f"{step},train/loss,{loss!r}")
        if step % 375 == 0:
            lines.append(f"{step},val/loss,{0.25 + 0.2 * np.exp(-step / 200)!r}")
            lines.append(f"{step},val/acc,{accuracy - 0.1 * np.exp(-step / 300)!r}")
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")


def tournament(folder: Path, recipes: int = 40, seeds: int = 5, reviews: int = 2000) -> Path:
    """A comparison of many recipes: three in ten alike at the top, the others ever worse; their costs differ."""
    made = {}
    for number in range(recipes):
        costs = np.random.default_rng(number)
        rank = number / max(1, recipes - 1)
        made[f"method_{number:02d}"] = Made(
            f"method_{number:02d}",
            0.91 - 0.04 * max(0.0, rank - 0.3) / 0.7,
            trainable=int(10 ** costs.uniform(4, 6.5)),
            gpu=round(float(costs.uniform(0.5, 2.5)), 3),
            train_s=round(float(costs.uniform(60, 600)), 1),
            checkpoint=int(10 ** costs.uniform(5, 7.5)),
            learning_rate=1e-3 if number % 2 else 3e-4,
        )
    return comparison(folder, made, tuple(range(1, seeds + 1)), reviews)
