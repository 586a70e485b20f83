"""Measures the study's memory and time columns with every run alone in its process, beside the study's own figures.

    python benchmarks/study_costs.py --shape DIR --reviews DIR --out benchmarks/results

`--shape` is a folder with roberta-base's `config.json` and tokenizer. Memory and time do not depend on what the
weights are, so they are drawn at random: no download, and no accuracy. The four recipes of the study run as published,
QLoRA once more with the gradient checkpointing that the study's code turned on for it alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from peft_lightning.commands.compare import stopping_in_order
from peft_lightning.compare.comparison import Options, begin
from peft_lightning.compare.execution.outcomes import newest_record
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.comparison_folder import ROOT, new_folder
from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.record import RunRecord

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "study"
METHODS = ("full", "lora", "qlora", "ia3")
CHECKPOINTED = "qlora-checkpointed"
LABELS = (*METHODS, CHECKPOINTED)
NAME = "study_costs"


class Published(NamedTuple):
    """A row of the study's table: an RTX 3050 with 4 GB; QLoRA with gradient checkpointing."""

    memory_gb: float
    minutes: float


STUDY = {
    "full": Published(2.64, 10.2),
    "lora": Published(1.48, 7.6),
    CHECKPOINTED: Published(1.36, 11.2),
    "ia3": Published(2.85, 7.9),
}


def make_backbone(shape: Path, folder: Path) -> Path:
    """Draws the weights of a backbone at random.

    Args:
        shape: a folder with `config.json` and the tokenizer's files.
        folder: where the backbone goes.

    Returns:
        The backbone's folder.
    """
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    torch.manual_seed(1)
    AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(shape)).save_pretrained(folder)
    for path in shape.iterdir():
        if path.suffix in (".json", ".txt") and path.name != "config.json":
            shutil.copy(path, folder)
    return folder


def checkpointed_recipe(folder: Path) -> Path:
    """Writes the study's QLoRA recipe with gradient checkpointing, as its code ran it."""
    recipe = yaml.safe_load((CONFIGS / "qlora.yaml").read_text(encoding="utf-8"))
    recipe["model"]["gradient_checkpointing"] = True
    path = folder / f"{CHECKPOINTED}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def compare(recipes: Sequence[str], words: Sequence[str], comparison: Path) -> int:
    """Runs every recipe once, alone in its process.

    Args:
        recipes: the recipes' files.
        words: settings for all runs, as `fit` takes them.
        comparison: the comparison's folder.

    Returns:
        0 if all runs finished, and 1 if some did not.

    Raises:
        UserError: the recipes and settings make no comparison.
        SystemExit: a signal stopped it.
    """
    plan = build_plan(recipes, [1], overrides=words)
    options = Options(forecast=False, texts=False)
    folder = new_folder(comparison.name)
    with stopping_in_order(folder, options):
        return 0 if begin(plan, folder, None, options) else 1


def measured(comparison: Path) -> dict[str, Any]:
    """Reads what each recipe's run recorded, by the recipe's label; None where there is nothing."""
    records = {run.label: newest_record(run.folder) for run in read_plan(comparison).runs(comparison)}
    return {label: None if record is None else _row(record) for label, record in records.items()}


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Adds rows to those of earlier calls, in the order of the recipes; a row that came to its end stays otherwise."""
    rows = {}
    for label in LABELS:
        candidates = [rows_of_call[label] for rows_of_call in (now, before) if label in rows_of_call]
        if candidates:
            kept = [row for row in candidates if row is not None]
            rows[label] = next((row for row in kept if _is_finished(row)), kept[0] if kept else None)
    return rows


def as_markdown(rows: dict[str, Any]) -> str:
    """The table: what the study published, what a run alone in its process takes, and on what that was measured."""
    lines = [
        "| recipe | study, GB | alone, GiB allocated (reserved) | study, minutes | alone, minutes | ms per step |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    machines: dict[str, list[str]] = {}
    for label, row in rows.items():
        study = STUDY.get(label)
        published = (f"{study.memory_gb:.2f}", f"{study.minutes:.1f}") if study else ("–", "–")
        memory = minutes = step = "–"
        if _is_finished(row):
            peak, reserved = (row["memory"][f"train_peak_{name}_gib"] for name in ("allocated", "reserved"))
            memory = "–" if peak is None or reserved is None else f"{peak:.2f} ({reserved:.2f})"
            minutes = f"{row['time']['train_s'] / 60:.1f}"
            step = f"{1000 * row['time']['train_s'] / row['time']['steps']:.1f}"
            shown = ", ".join(f"{name} {value}" for name, value in row["environment"].items() if value)
            machines.setdefault(shown, []).append(label)
        elif row is not None:
            memory = row["status"]
        lines.append(f"| {label} | {published[0]} | {memory} | {published[1]} | {minutes} | {step} |")
    return "\n".join([*lines, "", *(f"* {', '.join(labels)}: {shown}" for shown, labels in machines.items())])


def main() -> int:
    """Measures, and writes `study_costs.md` and `study_costs.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=Path, required=True, help="folder with config.json and tokenizer")
    parser.add_argument("--reviews", required=True, help="what --data.source takes, such as imdb or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results; rows of other recipes stay")
    parser.add_argument("--recipes", nargs="+", choices=LABELS, default=list(LABELS), help="which rows are measured")
    arguments, settings = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        backbone = make_backbone(arguments.shape, Path(scratch) / "backbone")
        files = {method: str(CONFIGS / f"{method}.yaml") for method in METHODS}
        files[CHECKPOINTED] = str(checkpointed_recipe(Path(scratch)))
        # As the study ran: no captured steps.
        words = ["--data.source", arguments.reviews, "--engine", "eager", "--model.model_name_or_path", str(backbone)]
        comparison = _free_folder()
        try:
            code = compare([files[label] for label in arguments.recipes], [*words, *settings], comparison)
        except UserError as error:
            print(f"study_costs: {error}", file=sys.stderr)
            return 2
        except SystemExit as stopped:  # by Ctrl-C or its like, after the run has written its record
            code = int(stopped.code or 0)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "study_costs.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = merged(before, measured(comparison))
    table = as_markdown(rows)
    write_atomically(path, (json.dumps(rows, indent=2) + "\n").encode())
    write_atomically(path.with_suffix(".md"), f"{table}\n".encode())
    print(table)
    return code


def _free_folder() -> Path:
    """Where a comparison's runs go: one of an earlier call would be taken for this one."""
    names = itertools.chain([NAME], (f"{NAME}_{number}" for number in itertools.count(1)))
    return next(folder for folder in (ROOT / name for name in names) if not folder.exists())


def _row(record: RunRecord) -> dict[str, Any]:
    parts = {"memory": vars(record.memory), "time": vars(record.time), "environment": vars(record.environment)}
    return {"status": record.status, **parts}


def _is_finished(row: dict[str, Any] | None) -> bool:
    return row is not None and row["status"] == "finished"


if __name__ == "__main__":
    sys.exit(main())
