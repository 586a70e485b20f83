"""Measures the same training work done by this project and by its peers, each alone in its process, in one run.

    python benchmarks/vs_peers.py --reviews DIR --shape DIR --out benchmarks/results/NAME
    python benchmarks/vs_peers.py --reviews DIR --backbone embedded --out DIR --peers hf-study hf-best ours \
        --ours fp32= --ours 'bf16=--trainer.precision bf16-mixed'
    python benchmarks/vs_peers.py --reviews DIR --shape qwen2.5-7b --methods 7b-qlora --out DIR
    python benchmarks/vs_peers.py --reviews DIR --shape qwen2.5-1.5b --devices 1 2 --out DIR
    python benchmarks/vs_peers.py --join DIR DIR --out DIR

`--shape` is a folder with a `config.json` and a tokenizer, or a decoder's by name: the backbone gets random weights,
on which speed and memory do not depend. Peers and variants are interleaved over the repeats. A run that fails becomes
a row that says so. The same command with the same `--out` goes on where it stopped, by itself or at `--budget_s`.
`--join` measures nothing: it makes one table of folders whose rows need not have been measured side by side, such as
one for each GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.execution.registry import executor_named
from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically
from side_by_side.backbones import find_backbone
from side_by_side.join import joined
from side_by_side.markdown_tables import as_markdown
from side_by_side.peer_job import Recipes
from side_by_side.peer_process import launch
from side_by_side.ranks import require_devices
from side_by_side.recorded_command import parsed, recorded
from side_by_side.results import FILE, Results, adapters_versions, describe_machine, held
from side_by_side.shared_reviews import count_reviews, mean_tokens
from side_by_side.wanted import Wanted
from side_by_side.working_through import pending, work_through

# A decoder's recipe for 7 billion weights computes activations again; `hf-best` does not, and `lean.yaml` does.
OURS: dict[Recipes, dict[str, tuple[str, ...]]] = {
    "study": {"fp32": (), "bf16": ("--trainer.precision", "bf16-mixed")},
    "decoder": {"bf16": ("--model.gradient_checkpointing", "false"), "lean": ("--config", "configs/lean.yaml")},
}


def main() -> int:
    """Measures, and writes the tables after every process; or joins what has been measured."""
    arguments = parsed(sys.argv[1:], __doc__)
    # Ends as Ctrl-C does, with the process that is running; what has been measured is on disk.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        if arguments.join:
            return join(arguments.join, arguments.out)
        with contextlib.ExitStack() as stack:
            if not arguments.dry_run:
                stack.enter_context(held(arguments.out))
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="vs_peers."))
            return measure(arguments, Path(scratch))
    except UserError as error:
        print(f"vs_peers: {error}", file=sys.stderr)
        return 2


def measure(arguments: argparse.Namespace, scratch: Path) -> int:
    """Runs what is left to be measured.

    Args:
        arguments: the command line's.
        scratch: folder for the backbone and for what processes write.

    Returns:
        0 when nothing is left, 75 (try again) where the budget ended first.
    """
    reviews = str(Path(arguments.reviews).resolve()) if Path(arguments.reviews).exists() else arguments.reviews
    backbone = find_backbone(arguments, scratch)
    arguments.methods, arguments.peers = backbone.methods(arguments.methods), backbone.peers(arguments.peers)
    if not arguments.dry_run:
        require_devices(arguments.devices)
    about = {
        "commands": [recorded(sys.argv[1:])],
        "machine": describe_machine(),
        "adapters_site": adapters_versions(arguments.adapters_site),
        "work": backbone.about() | {"learning_rate": arguments.learning_rate},
    }
    results = Results(arguments.out, about)
    # Whose weights only a process needs.
    folder = backbone.shape if arguments.dry_run else backbone.folder(scratch, arguments.scratch)
    wanted = _wanted(arguments, reviews, str(folder), backbone.recipes)
    if arguments.dry_run:
        for job in pending(wanted, results, arguments.retry):
            print(job.key)
        return 0
    site = arguments.adapters_site.resolve() if arguments.adapters_site else None

    def say(line: str) -> None:
        print(line, flush=True)
        _write_table(arguments.out, results)

    # As a peer's, every process of this project imports everything itself.
    executor = executor_named(options=ExecutorOptions(cold_starts=True))
    run = functools.partial(launch, executor=executor, scratch=scratch, adapters_site=site)
    budget_s = arguments.budget_s
    if budget_s is not None:  # which counts from the start of this process
        budget_s -= time.time() - psutil.Process().create_time()
    whole = work_through(
        wanted,
        results,
        lambda job, limit: run(job, time_limit_s=limit),
        budget_s,
        arguments.time_limit_s,
        arguments.retry,
        say,
    )
    _write_table(arguments.out, results)
    return 0 if whole else 75


def join(folders: Sequence[Path], out: Path) -> int:
    """Writes one measurement of those of several folders.

    Args:
        folders: what earlier calls had as `--out`.
        out: folder for the joined one.

    Returns:
        0.

    Raises:
        UserError: they cannot be joined, or there is a measurement in `out`.
    """
    about, records = joined(folders)
    with held(out):
        if (out / FILE).exists():
            raise UserError(f"{out} already holds a {FILE}: choose another --out")
        results = Results(out, about)
        results.records = records
        results.write()
        _write_table(out, results)
    print(f"{len(records)} records of {len(folders)} folders are in {out}")
    return 0


def _wanted(arguments: argparse.Namespace, reviews: str, backbone: str, recipes: Recipes) -> Wanted:
    names: tuple[str, ...] = (
        "peers",
        "methods",
        "batch_sizes",
        "max_lengths",
        "steps",
        "warmup_steps",
        "repeats",
        "trial_variants",
    )
    names += ("trial_compiled", "trial_steps", "whole_job", "n_train", "n_test", "epochs", "learning_rate", "devices")
    asked: dict[str, Any] = {name: getattr(arguments, name) for name in names}
    asked |= {"ours": dict(arguments.ours) if arguments.ours else OURS[recipes], "recipes": recipes}
    asked |= {"reviews": reviews, "backbone": backbone}
    wanted = Wanted(**asked, most_reviews=count_reviews(reviews))
    return wanted if arguments.dry_run else wanted.with_tokens(mean_tokens)


def _write_table(folder: Path, results: Results) -> None:
    if results.records:
        write_atomically(folder / "vs_peers.md", as_markdown(results.about, results.records).encode())


if __name__ == "__main__":
    sys.exit(main())
