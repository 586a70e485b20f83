"""Measures what data costs before the first training step, of two source trees side by side.

    python benchmarks/data_costs.py --before TREE --after TREE --out benchmarks/results/NAME

Every process is a `fit` of the LoRA recipe on the embedded backbone, on the CPU, which ends after its first step: twice
with the same cache, so the second time finds texts tokenised. The tables are made of the embedded corpus's clauses:
rows of 30 words, whole reviews, and the short rows once more with `--data.n_train 1000`. 500 rows say what a start
costs without data. Trees take turns. Wall time means little on a busy machine: processor time is measured beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft_lightning.runs.files import write_atomically
from side_by_side.first_step import RESULT, STARTED
from side_by_side.generated_rows import Kind, write_rows
from side_by_side.results import describe_machine

TREES = ("before", "after")
STARTS = ("first", "second")
FIGURES = {"wall_s": "wall, s", "cpu_s": "processor, s", "peak_rss_gib": "peak resident, GiB"}
_FEW = 500
_SUBSET = ("--data.n_train", "1000", "--data.n_val", "200", "--data.n_test", "200")
_BENCHMARKS = Path(__file__).resolve().parent


def start(tree: Path, table: Path, cache: Path, words: Sequence[str], time_limit_s: float) -> dict[str, Any]:
    """Starts a `fit`, and returns what it took until the end of its first step.

    Args:
        tree: The source tree that runs.
        table: The rows.
        cache: The folder of tokenised rows.
        words: Further settings.
        time_limit_s: When the process is given up.

    Raises:
        RuntimeError: If there was no first step.
    """
    configs = tree / "configs"
    command = [sys.executable, "-m", "peft_lightning", "fit", "--config", str(configs / "lora.yaml")]
    command += ["--config", str(configs / "offline.yaml"), "--data.source", str(table), "--data.cache_dir", str(cache)]
    command += ["--data.n_train", "null", "--data.n_test", "null", "--data.truncation", "head", *words]
    command += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    command += ["--trainer.callbacks+=side_by_side.first_step.FirstStep"]
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "first_step.json"
        environment = os.environ | {
            "PYTHONPATH": f"{tree}{os.pathsep}{_BENCHMARKS}",
            RESULT: str(result),
            STARTED: str(time.time()),
        }
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=time_limit_s, check=False
        )
        if not result.is_file():
            raise RuntimeError(f"no first step: {(done.stdout + done.stderr)[-2000:]}")
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return figures


def as_markdown(records: Mapping[str, Any]) -> str:
    """Writes the figures of both trees, medians of the repeats, and their ratios.

    Args:
        records: What `measure` returned.
    """
    header = ["rows", "start", *(f"{words}: {tree}" for words in FIGURES.values() for tree in TREES)]
    header += [f"{words.split(',')[0]}, ×" for words in FIGURES.values()]
    lines = [f"| {' | '.join(header)} |", f"| --- | --- |{' ---: |' * (len(header) - 2)}"]
    for name in records:
        for which in STARTS:
            cells, ratios = [name, which], []
            for figure in FIGURES:
                before, after = (
                    statistics.median(measured[figure] for measured in records[name][tree][which]) for tree in TREES
                )
                cells += [f"{before:.2f}", f"{after:.2f}"]
                ratios.append(f"{after / before:.2f}")
            lines.append(f"| {' | '.join([*cells, *ratios])} |")
    return "\n".join(lines)


def measure(asked: argparse.Namespace, tables: Path, caches: Path) -> dict[str, Any]:
    """Measures all tables, trees and starts.

    Args:
        asked: The command line.
        tables: A folder for the tables, which stay if they are there.
        caches: A folder for tokenised rows.

    Returns:
        For each table, tree and start, a record for each repeat.

    Raises:
        RuntimeError: If a process had no first step, or the trees disagree on the data.
    """
    length = ("--data.max_length", str(asked.max_length))
    cases: tuple[tuple[str, Kind, int, tuple[str, ...]], ...] = (
        (f"{_FEW} short rows", "short", _FEW, length),
        (f"{asked.reviews:,} whole reviews", "whole", asked.reviews, length),
        (f"{asked.rows:,} short rows", "short", asked.rows, length),
        (f"1,000 of {asked.rows:,} short rows", "short", asked.rows, (*length, *_SUBSET)),
    )
    records: dict[str, Any] = {}
    for name, kind, rows, words in cases:
        table = tables / f"{kind}_{rows}.{asked.format}"
        write_rows(table, kind, rows)
        records[name] = {tree: {which: [] for which in STARTS} for tree in TREES}
        for repeat in range(asked.repeats):
            for which in STARTS:
                for tree in TREES:
                    cache = caches / f"cache_{tree}_{repeat}_{len(records)}"
                    figures = start(getattr(asked, tree).resolve(), table, cache, words, asked.time_limit_s)
                    records[name][tree][which].append(figures)
                    print(f"{name}, {tree}, {which}: {json.dumps({k: figures[k] for k in FIGURES})}", flush=True)
        prints = {
            measured["data"]["fingerprint"]
            for tree in TREES
            for which in STARTS
            for measured in records[name][tree][which]
        }
        if len(prints) > 1:
            raise RuntimeError(f"the trees read {name} differently")
    return records


def main() -> int:
    """Measures, and writes `data_costs.md` and `data_costs.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="source tree, such as a git worktree")
    parser.add_argument("--after", type=Path, required=True, help="the source tree that it is compared with")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--rows", type=int, default=1_000_000, help="short rows")
    parser.add_argument("--reviews", type=int, default=100_000, help="whole reviews")
    parser.add_argument("--max_length", type=int, default=64, help="tokens")
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--time_limit_s", type=float, default=1800, help="for one process")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the tables for another call")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as caches:
        records = measure(asked, asked.scratch or Path(caches), Path(caches))
    sizes = f"--rows {asked.rows} --reviews {asked.reviews} --max_length {asked.max_length} --format {asked.format}"
    command = f"python benchmarks/data_costs.py --before TREE --after TREE --out DIR {sizes} --repeats {asked.repeats}"
    machine = describe_machine()
    table = as_markdown(records)
    asked.out.mkdir(parents=True, exist_ok=True)
    content = {"command": command, "machine": machine, "records": records}
    write_atomically(asked.out / "data_costs.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(asked.out / "data_costs.md", f"{table}\n\n`{command}`; {json.dumps(machine)}\n".encode())
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
