"""The tournament: every method of the package on real reviews, each with the same budget of learning rates and seeds.

    python benchmarks/tournament.py --reviews DIR --out benchmarks/results/methods_imdb --gpus 2 --jobs 16 --share_gpu 8

It is three calls of `compare` on the backbone in the package, and one of `report` after each. The same command goes on
where the last one stopped. Words it does not know go to every `compare`, such as `--data.n_test 500`.

1. `3000`: five learning rates around each recipe's own, a factor of 3.16 apart, chosen on 1,000 validation reviews;
   then five seeds with the chosen rate; 3,000 training reviews, tested on 2,000. LoRA is the baseline.
2. `300`: the same with 300 training reviews, where methods differ more.
3. `costs`: one run of each recipe alone on its GPU, for time and memory, which runs that share a GPU do not have. It is
   left out without `--share_gpu`: the first has them then.

Reports hold numbers of reviews, no texts. `tournament.json` says what each call took.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peft_lightning.compare.plan.comparison_folder import ROOT
from peft_lightning.compare.plan.plan import FILE
from peft_lightning.runs.files import write_atomically
from side_by_side.report_copies import copy_report

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FIRST = ("full", "lora", "qlora", "ia3", "ia3_lora", "head")
BASELINE = "lora"
TIMES = "tournament.json"
# A comparison of which single runs failed has a report, and exit code 1.
SOME_FAILED = 1


class Stage(NamedTuple):
    """A call of `compare`: its name and its own words."""

    name: str
    words: tuple[str, ...]
    shares: bool


def recipes(only: Sequence[str] = ()) -> list[str]:
    """Lists the recipes, those of the package's own methods first.

    Args:
        only: names of those to take; all if there are none.
    """
    files = [CONFIGS / f"{name}.yaml" for name in FIRST] + sorted((CONFIGS / "peft").glob("*.yaml"))
    names = [path.stem for path in files]
    if unknown := sorted(set(only) - set(names)):
        raise SystemExit(
            f"{Path(sys.argv[0]).stem}: there is no recipe {', '.join(unknown)}; there are {', '.join(names)}"
        )
    return [str(path) for path in files if not only or path.stem in only]


def stages(only: Sequence[str], shared: bool) -> list[Stage]:
    """Lists the calls of `compare`.

    Args:
        only: names of the recipes to take; all if there are none.
        shared: whether runs share a GPU, so that a call without sharing has to measure time and memory.
    """
    named = recipes(only)
    baseline = ("--baseline", BASELINE) if not only or (BASELINE in only and len(only) > 1) else ()
    tuned = ("--tune", "5", "--seeds", "1", "2", "3", "4", "5", *baseline)
    listed = [Stage(str(count), (*named, *tuned, "--data.n_train", str(count)), True) for count in (3000, 300)]
    alone = Stage("costs", (*named, "--seeds", "1", *baseline, "--data.n_train", "3000"), False)
    return [*listed, alone] if shared else listed


def command(stage: Stage, name: str, reviews: str, jobs: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Returns the words of a stage's `compare`, or of its `--resume` if it has begun.

    Args:
        stage: the stage.
        name: the comparison's name.
        reviews: what --data.source takes.
        jobs: options that say where runs run.
        settings: further settings for all runs.
    """
    if (ROOT / name / FILE).exists():
        return ["compare", "--resume", str(ROOT / name), *jobs]
    fixed = ["--model.model_name_or_path", "embedded", "--data.source", reviews]
    sizes = ["--data.n_val", "1000", "--data.n_test", "2000"]
    return ["compare", *stage.words, "--name", name, "--no_texts", "--no_forecast", *jobs, *fixed, *sizes, *settings]


def main(words: Sequence[str]) -> int:
    """Runs what is left of the tournament, and copies its reports.

    Returns:
        The exit code of the first call that stopped; 1 if single runs failed; else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--reviews", required=True, help="folder with IMDb's train and test files, or what --data.source takes")
    add("--out", type=Path, required=True, help="folder for the reports, such as benchmarks/results/methods_imdb")
    add("--gpus", type=int, default=1, help="number of GPUs: the runs at the same time where none is shared")
    add("--jobs", type=int, help="runs at the same time where GPUs are shared; --gpus times --share_gpu without it")
    add("--share_gpu", type=int, default=1, help="runs on a GPU at the same time; 1 shares none")
    add("--stages", nargs="+", choices=("3000", "300", "costs"), help="those calls only; all of them without it")
    add("--recipes", nargs="+", default=[], metavar="NAME", help="those recipes only, such as lora vera")
    arguments, settings = parser.parse_known_args(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    shared = arguments.share_gpu > 1
    together = ["--jobs", str(arguments.jobs or arguments.gpus * arguments.share_gpu)]
    together += ["--share_gpu", str(arguments.share_gpu)] if shared else []
    code = 0
    for stage in stages(arguments.recipes, shared):
        if arguments.stages and stage.name not in arguments.stages:
            continue
        name = f"{arguments.out.resolve().name}_{stage.name}"
        jobs = together if stage.shares else ["--jobs", str(arguments.gpus)]
        asked = command(stage, name, arguments.reviews, jobs, settings)
        ended = _timed(asked, arguments.out / TIMES, stage.name, arguments.gpus)
        if ended not in (0, SOME_FAILED):
            return ended
        code = code or ended
        copy_report(ROOT / name, arguments.out / stage.name)
    return code


def _timed(words: Sequence[str], times: Path, stage: str, gpus: int) -> int:
    """Runs the program, and adds its seconds to those of earlier calls, however it ends."""
    begun = time.monotonic()
    print(f"$ peft-lightning {shlex.join(words)}", flush=True)
    try:
        return subprocess.run([sys.executable, "-m", "peft_lightning", *words], check=False).returncode
    except KeyboardInterrupt:  # the child had it too, and has said how to go on
        return 130
    finally:
        before: dict[str, Any] = json.loads(times.read_text(encoding="utf-8")) if times.is_file() else {}
        wall_s = before.get(stage, {}).get("wall_s", 0.0) + time.monotonic() - begun
        before[stage] = {"wall_s": round(wall_s, 1), "gpus": gpus, "gpu_hours": round(wall_s * gpus / 3600, 3)}
        write_atomically(times, (json.dumps(before, indent=2) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
