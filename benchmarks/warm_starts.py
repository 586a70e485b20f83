"""Compares a comparison's wall time and results between two source trees, or between cold and warm starts of one.

    python benchmarks/warm_starts.py --out OUT [--before TREE] [--words WORDS ...]

Both sides run ``compare`` with the same words one after the other, in a folder of their own, with the interpreter of
this script: first the tree ``--before`` (this one with ``--cold_starts`` if there is none), then this tree. Printed are
wall times, their ratio, and every run whose metrics, predictions or GPU memory are not the same; exit code 1 if there
is one. A metric or a column that one tree does not write is left out. Without ``--words`` the comparison is that of
``make compare``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

TREE = Path(__file__).resolve().parents[1]
GPU = ("train_peak_allocated_gib", "train_peak_reserved_gib", "eval_peak_allocated_gib", "eval_peak_reserved_gib")


def words_of_make() -> list[str]:
    """Returns the words of ``make compare`` after ``compare``."""
    text = (TREE / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^COMPARE = compare (.*?)(?<!\\)$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1].replace("\\\n", " ").split()


def run_side(tree: Path, folder: Path, words: list[str]) -> float:
    """Runs a comparison with the sources of a tree, and returns its seconds."""
    folder.mkdir(parents=True)
    path = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{path}", "XDG_CACHE_HOME": str(folder / "cache")}
    began = time.monotonic()
    with (folder / "out.txt").open("wb") as out:
        subprocess.run(
            [sys.executable, "-m", "peft_lightning", "compare", *words, "--name", "side"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=True,
        )
    return time.monotonic() - began


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Reads what each run has measured, by the place of its folder."""
    found = {}
    for path in sorted(folder.glob("lightning_logs/compare/side/runs/*/*/lightning_logs/*/*/results.json")):
        record = json.loads(path.read_text())
        found[str(path.parents[3].relative_to(folder / "lightning_logs/compare/side/runs"))] = {
            "metrics": record["metrics"],
            "GPU memory": {name: record["memory"][name] for name in GPU},
            "predictions": pq.read_table(path.parent / "predictions.parquet").to_pydict(),
            "startup_s": record["time"]["startup_s"],
            "resident": record["memory"]["train_peak_rss_gib"],
        }
    return found


def differences(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Returns a line for each run and part that is not the same on both sides."""
    lines = [f"{run}: on one side only" for run in before.keys() ^ after.keys()]
    for run in before.keys() & after.keys():
        for part in ("metrics", "GPU memory", "predictions"):
            first, second = before[run][part], after[run][part]
            unlike = [name for name in first.keys() & second.keys() if first[name] != second[name]]
            if unlike and part == "predictions":
                lines.append(f"{run}: predictions differ in {', '.join(sorted(unlike))}")
            elif unlike:
                shown = (f"{name} {first[name]} → {second[name]}" for name in sorted(unlike))
                lines.append(f"{run}: {part} differ: {', '.join(shown)}")
    return sorted(lines)


def mean(values: list[float | None]) -> float:
    """Returns the mean of the values that there are; NaN if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else float("nan")


def main() -> None:
    """Runs both sides and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder for both sides")
    parser.add_argument("--before", type=Path, help="the tree to compare with (default: this one, --cold_starts)")
    parser.add_argument("--words", nargs=argparse.REMAINDER, help="the words after compare, with absolute paths")
    arguments = parser.parse_args()
    words = arguments.words or words_of_make()
    sides = {
        "before": (arguments.before or TREE, [] if arguments.before else ["--cold_starts"]),
        "after": (TREE, []),
    }
    out = arguments.out.resolve()
    wall = {name: run_side(tree.resolve(), out / name, words + more) for name, (tree, more) in sides.items()}
    found = {name: results(out / name) for name in sides}
    for name in sides:
        runs = list(found[name].values())
        print(
            f"{name}: {wall[name]:.1f} s, {len(runs)} runs, start-up {mean([run['startup_s'] for run in runs]):.2f} s,"
            f" resident {mean([run['resident'] for run in runs]):.3f} GiB"
        )
    print(f"ratio: {wall['after'] / wall['before']:.3f}")
    unlike = differences(found["before"], found["after"])
    print("\n".join(unlike) or "metrics, predictions and GPU memory are the same in every run")
    summary = {"wall_s": wall, "ratio": wall["after"] / wall["before"], "unlike": unlike}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    sys.exit(1 if unlike else 0)


if __name__ == "__main__":
    main()
