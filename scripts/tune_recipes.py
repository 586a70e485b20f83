"""Chooses the learning rate and the schedule of every tuned recipe, with the same budget, on validation.

    python scripts/tune_recipes.py --reviews DIR --jobs 4 [--data.truncation head ...]

Each method is tried with 5 learning rates x 2 schedules, one process each; nothing of the test split is looked at
until the best of each method, by validation accuracy and then loss, is run again with three seeds and tested.
Settings that follow hold for all of them. The same command goes on where it was stopped. The figures that the heads of
`configs/tuned_on_embedded/*.yaml` name were printed by this script.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from peft_lightning.compare.display.view_choice import view_for
from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import tried_before
from peft_lightning.compare.execution.registry import executor_named
from peft_lightning.compare.execution.runner import run_jobs
from peft_lightning.compare.plan.overrides import override, read_overrides
from peft_lightning.errors import UserError
from peft_lightning.recipes import find_config, merge, read_merged, recipe_name, split_arguments

RATES = {
    "full": ("2e-5", "5e-5", "1e-4", "2e-4", "5e-4"),
    "lora": ("1e-4", "2e-4", "5e-4", "1e-3", "2e-3"),
    "qlora": ("2e-4", "5e-4", "1e-3", "2e-3", "5e-3"),
    "ia3": ("1e-3", "2e-3", "5e-3", "1e-2", "2e-2"),
    "head": ("5e-4", "1e-3", "2e-3", "5e-3", "1e-2"),
}
SCHEDULES = ("linear", "cosine")
SEEDS = (1, 2, 3)
Metrics = Mapping[str, float]


class Trial(NamedTuple):
    """One fit: a method with a learning rate, a schedule and a seed, tested or not."""

    method: str
    rate: str
    schedule: str
    seed: int
    tested: bool


def trial_job(trial: Trial, words: Sequence[str], folder: Path) -> FitJob:
    """Makes the job of a trial.

    Args:
        trial: what is tried.
        words: settings for all trials, as `fit` takes them.
        folder: where the runs go.
    """
    place = folder / "-".join(map(str, trial))
    recipe = find_config(f"configs/tuned_on_embedded/{trial.method}.yaml")
    overlays, flags = split_arguments(list(words))
    settings = read_merged([recipe, *map(find_config, overlays)])
    own = {
        "recipe": recipe_name(recipe),
        "seed_everything": trial.seed,
        "model": {"learning_rate": trial.rate, "schedule": trial.schedule},
        "trainer": {"default_root_dir": str(place), "enable_progress_bar": False},
        "test_after_fit": trial.tested,
    }
    what = f"{trial.rate} {trial.schedule} seed {trial.seed}"
    return FitJob(trial.method, what, place, merge(override(settings, read_overrides(flags)), own))


def run(title: str, trials: Sequence[Trial], words: Sequence[str], folder: Path, pool: Pool) -> dict[Trial, Metrics]:
    """Runs trials, each in a process of its own, and returns the metrics in their records.

    A rate so high that the loss ended as NaN is a trial as well: one that lost.

    Args:
        title: what a reader calls these trials.
        trials: what is tried.
        words: settings for all of them.
        folder: where the runs go.
        pool: who runs them, and how many at once.
    """
    jobs = [trial_job(trial, words, folder) for trial in trials]
    outcomes = run_jobs(jobs, pool, view_for(title, {}, len(pool.places)), before=tried_before)
    records = [outcome.record if outcome.finished else None for outcome in outcomes]
    metrics = [
        {name: value for name, value in record.metrics.items() if value is not None} if record else {}
        for record in records
    ]
    return dict(zip(trials, metrics, strict=True))


def tune(words: Sequence[str], folder: Path, pool: Pool) -> None:
    """Runs all trials and prints two tables.

    Args:
        words: settings for all trials.
        folder: where the runs go.
        pool: who runs them, and how many at once.
    """
    trials = [
        Trial(method, rate, schedule, 42, False)
        for schedule in SCHEDULES
        for method, rates in RATES.items()
        for rate in rates
    ]
    results = run("learning rates and schedules", trials, words, folder, pool)
    best = {}
    for method in RATES:
        tried = {trial: metrics for trial, metrics in results.items() if trial.method == method}
        for trial, metrics in tried.items():
            figures = f"{metrics['val/acc']:.4f} {metrics['val/loss']:.4f}" if "val/acc" in metrics else "failed"
            print(f"tried {method:5} {trial.rate} {trial.schedule:6} {figures}")
        best[method] = max(
            tried, key=lambda trial: (tried[trial].get("val/acc", 0.0), -tried[trial].get("val/loss", 1e9))
        )
    repeated = [best[method]._replace(seed=seed, tested=True) for method in RATES for seed in SEEDS]
    tested = run("the best of each method", repeated, words, folder, pool)
    for method, chosen in best.items():
        scores = [tested[chosen._replace(seed=seed, tested=True)].get("test/acc", 0.0) for seed in SEEDS]
        shown = " ".join(f"{score:.4f}" for score in scores)
        print(f"chosen {method:5} {chosen.rate} {chosen.schedule:6} test {shown} mean {sum(scores) / len(scores):.4f}")


def main() -> int:
    """Reads the command line and tunes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", required=True, help="what --data.source takes, such as imdb or a folder")
    parser.add_argument("--backbone", default="embedded", help="what --model.model_name_or_path takes")
    parser.add_argument("--folder", type=Path, default=Path("lightning_logs/tuning"), help="where the runs go")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once; only accuracies are looked at")
    parser.add_argument("--n_val", default="2000", help="validation reviews")
    arguments, settings = parser.parse_known_args()
    if arguments.jobs < 1:
        parser.error(f"--jobs {arguments.jobs}: say 1 or more")
    words = ["--data.source", arguments.reviews, "--model.model_name_or_path", arguments.backbone]
    words += ["--data.n_val", arguments.n_val, "--checkpoint.every_n_steps", "0", *settings]
    try:
        # Trials share the machine: nothing but their accuracies is looked at.
        tune(words, arguments.folder, Pool(executor_named(), [None] * arguments.jobs))
    except UserError as error:
        print(f"tune_recipes: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
