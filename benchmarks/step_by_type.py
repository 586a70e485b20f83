"""Steps per second of every recipe, captured against eager, and which recipes train beside a backbone in four bits.

    python benchmarks/step_by_type.py --shape DIR --out benchmarks/results/NAME

`--shape` is a folder with a `config.json` and a tokenizer (random weights), `--backbone` takes `embedded` or a folder
with weights. Every recipe of `configs/` and `configs/peft/` runs through `fit` with its own settings, but for these:
batches of `--batch_size` reviews, all of them `--max_length` tokens long, bf16-mixed, and what is frozen of the
backbone in bf16. It has three forms: `captured` (`--engine graph`), `eager`, and `nf4`, captured too, on a backbone in
four bits.

Each run has a process of its own. A wave of them starts up at once (`--at_once`); when all have made their first steps,
captures included, they take their timed steps one after the other, and the machine does nothing else. The same command
with the same `--out` goes on where the last one stopped, by itself or at `--budget_s`. With `--again` what is asked for
replaces what is there; LoRA's captured step, which captured steps are compared with, is then measured beside them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from peft_lightning.backbone.locations import locate
from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.execution.executors.local import LocalExecutor
from peft_lightning.errors import UserError
from side_by_side.generated_rows import write_rows
from side_by_side.recorded_command import recorded
from side_by_side.results import describe_machine, held, usable_cores
from side_by_side.step_results import BASELINE, FORMS, Form, StepResults
from side_by_side.step_runs import LEAST_BATCHES, N_EVALUATED, record_of, settings_of, steps_of, wanted
from side_by_side.step_table import as_markdown
from side_by_side.waves import Wave
from study_costs import make_backbone
from tournament import recipes

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 400


def left_of(asked: argparse.Namespace, results: StepResults) -> list[tuple[Form, Path]]:
    """Lists the runs that this call is for.

    Args:
        asked: the command line's arguments.
        results: what has been measured.
    """
    runs = wanted(asked.forms, [Path(file) for file in recipes(asked.recipes)])
    if not asked.again:
        return [(form, file) for form, file in runs if not results.has(file.stem, form, asked.retry)]
    baseline: list[tuple[Form, Path]] = [("captured", Path(file)) for file in recipes([BASELINE])]
    compared = any(form != "eager" for form, _ in runs)
    # The first of the first wave, so that whatever is measured later is compared with it.
    return [*baseline, *(run for run in runs if run not in baseline)] if compared else runs


def measure(asked: argparse.Namespace, results: StepResults, scratch: Path) -> bool:
    """Runs what is left, wave by wave.

    Args:
        asked: the command line's arguments.
        results: what has been measured; it grows.
        scratch: a folder for what runs read and write.

    Returns:
        Whether nothing is left.

    Raises:
        UserError: No run of a wave came to its figures.
    """
    left = left_of(asked, results)
    if not left:
        return True
    backbone = locate(asked.backbone) if asked.backbone else str(make_backbone(asked.shape, scratch / "base"))
    rows = scratch / "rows"
    rows.mkdir()
    write_rows(rows / "train.parquet", "long", max(LEAST_BATCHES, steps_of(asked).all) * asked.batch_size + N_EVALUATED)
    write_rows(rows / "test.parquet", "long", N_EVALUATED)
    _set_environment(scratch)
    executor, longest = LocalExecutor(ExecutorOptions(cold_starts=asked.cold_starts)), 0.0
    for number in range(0, len(left), asked.at_once):
        if asked.budget_s is not None and _age_s() + longest > asked.budget_s:
            print(f"budget: {len(left) - number} runs are left for the next call with the same --out", flush=True)
            return False
        began = time.monotonic()
        part = left[number : number + asked.at_once]
        runs = {f"{file.stem}/{form}": settings_of(file, form, asked, backbone, rows) for form, file in part}
        wave = Wave(scratch / f"wave_{number}", runs, steps_of(asked))
        found = {
            name: record_of(timed, asked.steps) for name, timed in wave.run(executor, asked.patience_s, _say).items()
        }
        if number == 0 and len(found) > 1 and all(record["status"] == "failed" for record in found.values()):
            raise UserError(f"none of {len(found)} runs came to its figures: {next(iter(found.values()))['why']}")
        for name, record in found.items():
            results.add(name, record)
            _say(f"{name}: {results.words(name)}")
        longest = max(longest, time.monotonic() - began)
        _write_table(asked.out, results)
        shutil.rmtree(scratch / f"wave_{number}")  # full fine-tuning leaves a checkpoint of 1.5 GB
    return True


def main(words: Sequence[str]) -> int:
    """Measures, and writes `step_by_type.json` and `step_by_type.md`.

    Returns:
        0 when nothing is left, 75 (try again) where the budget ended first, 2 after a mistake.
    """
    asked = _arguments(words)
    about = {
        "commands": [recorded(words, "step_by_type.py")],
        "machine": describe_machine(),
        "work": {
            "backbone": "random weights" if asked.shape else Path(asked.backbone).name,
            "batch_size": asked.batch_size,
            "max_length": asked.max_length,
            "steps": asked.steps,
        },
    }
    try:
        with held(asked.out), tempfile.TemporaryDirectory() as scratch:
            results = StepResults(asked.out, about)
            whole = measure(asked, results, Path(scratch))
            _write_table(asked.out, results)
    except UserError as error:
        print(f"step_by_type: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("step_by_type: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0 if whole else 75


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    backbone = parser.add_mutually_exclusive_group(required=True)
    backbone.add_argument("--shape", type=Path, help="folder with config.json and tokenizer: random weights")
    backbone.add_argument("--backbone", help="`embedded`, or a folder with weights")
    add("--out", type=Path, required=True, help="folder for step_by_type.json and step_by_type.md")
    add("--recipes", nargs="+", default=[], metavar="NAME", help="those recipes only, such as lora vera")
    add("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="in this order")
    add("--batch_size", type=int, default=8)
    add("--max_length", type=int, default=256, help=f"tokens of every review, at most {LONGEST}")
    add("--steps", type=int, default=30, help="steps that are timed")
    add("--at_once", type=int, default=usable_cores(), help="runs that start up at once; one for each core")
    add("--patience_s", type=float, default=150, help="seconds for the start-up of a wave, and for a run's timed steps")
    add("--cold_starts", action="store_true", help="every run imports everything itself, as compare's do with it")
    add("--budget_s", type=float, help="start no wave that may not end within so many seconds")
    add("--retry", action="store_true", help="run once more what failed")
    add("--again", action="store_true", help="run once more whatever is asked for, and LoRA's captured step beside it")
    asked = parser.parse_args(words)
    if asked.max_length > LONGEST:
        parser.error(f"--max_length {asked.max_length}: the reviews have {LONGEST} tokens at least")
    return asked


def _set_environment(scratch: Path) -> None:
    """Sets what the processes of the runs inherit."""
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks"), *inherited])
    os.environ["XDG_CACHE_HOME"] = str(scratch / "cache")
    os.environ["HF_HUB_OFFLINE"] = "1"
    # A start-up has a core to itself, and where a GPU computes no more are needed.
    os.environ["OMP_NUM_THREADS"] = "1"


def _age_s() -> float:
    return time.time() - float(psutil.Process().create_time())


def _say(line: str) -> None:
    print(f"{_age_s():6.1f} s  {line}", flush=True)


def _write_table(folder: Path, results: StepResults) -> None:
    results.write()
    (folder / "step_by_type.md").write_text(as_markdown(results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
