"""Chooses the learning rate and the schedule of every tuned recipe, with the same budget, on validation.

    python scripts/tune_recipes.py --reviews DIR --jobs 4 [--data.truncation head ...]

Each method is tried with 5 learning rates x 2 schedules, one process each; nothing of the test split is looked at
until the best of each method, by validation accuracy and then loss, is run again with three seeds and tested.
Settings that follow hold for all of them. The figures that the heads of `configs/tuned_on_embedded/*.yaml` name were
printed by this script.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

RATES = {
    "full": ("2e-5", "5e-5", "1e-4", "2e-4", "5e-4"),
    "lora": ("1e-4", "2e-4", "5e-4", "1e-3", "2e-3"),
    "qlora": ("2e-4", "5e-4", "1e-3", "2e-3", "5e-3"),
    "ia3": ("1e-3", "2e-3", "5e-3", "1e-2", "2e-2"),
    "head": ("5e-4", "1e-3", "2e-3", "5e-3", "1e-2"),
}
SCHEDULES = ("linear", "cosine")
SEEDS = (1, 2, 3)


class Trial(NamedTuple):
    """One fit: a method with a learning rate, a schedule and a seed, tested or not."""

    method: str
    rate: str
    schedule: str
    seed: int
    tested: bool


def run(trial: Trial, words: list[str], folder: Path) -> tuple[Trial, dict[str, float]]:
    """Runs a trial in a process of its own and returns the metrics in its record."""
    root = folder / "-".join(map(str, trial))
    recipe = f"configs/tuned_on_embedded/{trial.method}.yaml"
    command = [sys.executable, "-m", "peft_lightning", "fit", "--config", recipe, *words]
    command += ["--model.learning_rate", trial.rate, "--model.schedule", trial.schedule]
    command += ["--seed_everything", str(trial.seed), "--test_after_fit", str(trial.tested).lower()]
    command += ["--trainer.default_root_dir", str(root), "--trainer.enable_progress_bar", "false"]
    root.mkdir(parents=True, exist_ok=True)
    with (root / "log.txt").open("w", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    # A rate so high that the loss ended as NaN is a trial as well: one that lost.
    records = sorted(root.glob("lightning_logs/*/version_*/results.json"))
    return trial, json.loads(records[-1].read_text(encoding="utf-8"))["metrics"] if records else {}


def main() -> None:
    """Runs all trials and prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", required=True, help="what --data.source takes, such as imdb or a folder")
    parser.add_argument("--backbone", default="embedded", help="what --model.model_name_or_path takes")
    parser.add_argument("--folder", type=Path, default=Path("lightning_logs/tuning"), help="where the runs go")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once; only accuracies are looked at")
    parser.add_argument("--n_val", default="2000", help="validation reviews")
    arguments, settings = parser.parse_known_args()
    words = ["--data.source", arguments.reviews, "--model.model_name_or_path", arguments.backbone]
    words += ["--data.n_val", arguments.n_val, "--checkpoint.every_n_steps", "0", *settings]
    trials = [
        Trial(method, rate, schedule, 42, False)
        for schedule in SCHEDULES
        for method, rates in RATES.items()
        for rate in rates
    ]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = dict(pool.map(lambda trial: run(trial, words, arguments.folder), trials))
        best = {}
        for method in RATES:
            tried = {trial: found for trial, found in results.items() if trial.method == method}
            for trial, found in tried.items():
                figures = f"{found['val/acc']:.4f} {found['val/loss']:.4f}" if "val/acc" in found else "failed"
                print(f"tried {method:5} {trial.rate} {trial.schedule:6} {figures}")
            best[method] = max(
                tried, key=lambda trial: (tried[trial].get("val/acc", 0.0), -tried[trial].get("val/loss", 1e9))
            )
        repeated = [best[method]._replace(seed=seed, tested=True) for method in RATES for seed in SEEDS]
        tested = dict(pool.map(lambda trial: run(trial, words, arguments.folder), repeated))
    for method, chosen in best.items():
        scores = [tested[chosen._replace(seed=seed, tested=True)].get("test/acc", 0.0) for seed in SEEDS]
        shown = " ".join(f"{score:.4f}" for score in scores)
        print(f"chosen {method:5} {chosen.rate} {chosen.schedule:6} test {shown} mean {sum(scores) / len(scores):.4f}")


if __name__ == "__main__":
    main()
