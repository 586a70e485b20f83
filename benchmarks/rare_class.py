"""What class weights and the focal loss bring where a class is rare: LoRA on real reviews, few of which are positive.

    python benchmarks/rare_class.py --reviews DIR --out benchmarks/results/rare_class

Training, validation and test reviews are drawn with the same share of positive ones. Three recipes differ in the loss
alone: cross entropy as it is, with `class_weights: balanced`, and focal with exponent 2 (Lin et al. 2017). The best
checkpoint is chosen by PR-AUC on validation. One `compare` trains them, and its report is written twice: by F1 of the
rare class, and by PR-AUC. The same command goes on where the last one stopped. Words it does not know go to `compare`,
such as `--data.max_length 128`. Reports hold numbers of reviews, no texts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from peft_lightning.compare.plan.comparison_folder import ROOT
from peft_lightning.compare.plan.plan import FILE
from peft_lightning.recipes import merge, read_config
from peft_lightning.runs.files import write_atomically
from side_by_side.report_copies import copy_report

RECIPE = Path(__file__).resolve().parents[1] / "configs/tuned_on_embedded/lora.yaml"
# What each recipe changes in the loss.
LOSSES: dict[str, dict[str, Any]] = {
    "cross_entropy": {},
    "balanced": {"class_weights": "balanced"},
    "focal": {"focal_gamma": 2.0},
}
CLASSES = ("negative", "positive")
RARE = CLASSES.index("positive")
METRICS = (f"f1.{CLASSES[RARE]}", "pr_auc")


def drawn(table: pa.Table, count: int, share: float, seed: int) -> pa.Table:
    """Draws rows of which a share is of the rare class, in random order.

    Args:
        table: Rows with a `label` of 0 or 1.
        count: How many to draw.
        share: The rare class's share of them, from 0 to 1.
        seed: Of the draw.

    Raises:
        SystemExit: If there are too few rows of a class.
    """
    generator = np.random.default_rng(seed)
    labels = np.asarray(table["label"])
    wanted = {RARE: round(share * count), 1 - RARE: count - round(share * count)}
    chosen = []
    for label, number in wanted.items():
        rows = np.flatnonzero(labels == label)
        if len(rows) < number:
            raise SystemExit(f"rare_class: {number} rows with label {label} are wanted, and there are {len(rows)}")
        chosen.append(generator.choice(rows, number, replace=False))
    return table.take(generator.permutation(np.concatenate(chosen)))


def write_reviews(source: Path, folder: Path, sizes: Mapping[str, int], share: float, seed: int) -> None:
    """Writes splits in which the rare class has the same share.

    Args:
        source: Folder with `train.parquet` and `test.parquet`.
        folder: The folder to write.
        sizes: Rows of each split: `train`, `validation` and `test`.
        share: The rare class's share.
        seed: Of the draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, test = (pq.read_table(source / f"{split}.parquet", columns=["text", "label"]) for split in ("train", "test"))
    # One draw for both, so that no review is in two splits.
    both = drawn(train, sizes["train"] + sizes["validation"], share, seed)
    rare = np.asarray(both["label"]) == RARE
    ranks = np.where(rare, np.cumsum(rare), np.cumsum(~rare))
    held = np.where(rare, round(share * sizes["validation"]), sizes["validation"] - round(share * sizes["validation"]))
    splits = {"train": both.filter(pa.array(ranks > held)), "validation": both.filter(pa.array(ranks <= held))}
    for split, rows in {**splits, "test": drawn(test, sizes["test"], share, seed)}.items():
        pq.write_table(rows, folder / f"{split}.parquet")


def write_recipes(folder: Path) -> list[Path]:
    """Writes a recipe for each loss, and returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, loss in LOSSES.items():
        model = {"model_name_or_path": "embedded", "class_names": list(CLASSES), **loss}
        content = merge(read_config(RECIPE), {"model": model, "checkpoint": {"monitor": "val/pr_auc"}})
        files.append(folder / f"{name}.yaml")
        write_atomically(files[-1], yaml.safe_dump(content, sort_keys=False).encode())
    return files


def main(words: Sequence[str]) -> int:
    """Trains what is left, and writes the reports.

    Returns:
        The exit code of the first call that failed; else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--reviews", type=Path, required=True, help="folder with IMDb's train.parquet and test.parquet")
    add("--out", type=Path, required=True, help="folder for the reports, such as benchmarks/results/rare_class")
    add("--share", type=float, default=0.03, help="of positive reviews, from 0 to 1")
    add("--sizes", type=int, nargs=3, default=(3000, 500, 2000), metavar=("TRAIN", "VAL", "TEST"))
    add("--seeds", nargs="+", default=("1", "2", "3"))
    arguments, settings = parser.parse_known_args(words)
    out = arguments.out.resolve()
    name, sizes = out.name, dict(zip(("train", "validation", "test"), arguments.sizes, strict=True))
    comparison = ROOT / name
    if (comparison / FILE).exists():
        asked = ["compare", "--resume", str(comparison)]
    else:
        reviews = Path("rare_reviews").resolve()
        write_reviews(arguments.reviews, reviews, sizes, arguments.share, seed=42)
        counts = [
            f"--data.n_{part}={count}" for part, count in zip(("train", "val", "test"), arguments.sizes, strict=True)
        ]
        files = [str(file) for file in write_recipes(Path("rare_recipes").resolve())]
        asked = ["compare", *files, "--seeds", *arguments.seeds, "--baseline", "cross_entropy", "--metric", METRICS[0]]
        asked += ["--name", name, "--no_texts", "--data.source", str(reviews), "--data.val_split", "validation"]
        asked += [*counts, *settings]
    for metric, call in zip(METRICS, (asked, ["report", str(comparison), "--metric", METRICS[1]]), strict=True):
        if ended := subprocess.run([sys.executable, "-m", "peft_lightning", *call], check=False).returncode:
            return ended
        copy_report(comparison, out / metric)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
