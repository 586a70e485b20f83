"""Time and memory of `predict`, of this source tree, of another one and of transformers' pipeline, by rows.

Each runs alone in a process, over the same texts: short ones, many, for memory; those of mixed lengths for time. What a
process takes to start, which is imports and the model, is measured with one row and taken off the rates. The short rows
are answered twice: as they are, and with a SIGKILL halfway, after which the same command goes on. The bytes of both
answers must be the same.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from peft_lightning.runs.files import write_atomically
from side_by_side.generated_rows import write_rows
from side_by_side.mixed_texts import mixed_texts
from side_by_side.results import describe_machine

_BENCHMARKS = Path(__file__).resolve().parent


@contextmanager
def started(command: Sequence[str], tree: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Starts a process that imports a source tree, and yields it with the file that it prints into."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])}
    # Elsewhere than in a source tree, which Python would import from first.
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryDirectory() as elsewhere:
        yield subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=printed, stderr=printed), printed


def measured(command: Sequence[str], tree: Path, time_limit_s: float, answers: Path | None = None) -> dict[str, float]:
    """Runs a process, and returns its `wall_s`, `cpu_s` and `peak_rss_mib`.

    Args:
        command: The words.
        tree: The source tree that it imports.
        time_limit_s: When it is given up.
        answers: A file that it writes and deletes; its greatest size is `answers_bytes` then.

    Raises:
        RuntimeError: If it failed.
    """
    began, greatest = time.monotonic(), 0
    with started(command, tree) as (child, printed):
        while True:
            greatest = max(greatest, size_of(answers)) if answers is not None else 0
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() - began > time_limit_s:
                child.kill()
            time.sleep(0.05)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            printed.seek(0)
            raise RuntimeError(f"{command} ended with {child.returncode}: {printed.read()[-2000:].decode()}")
    figures = {
        "wall_s": time.monotonic() - began,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_mib": usage.ru_maxrss / 1024,
    }
    return figures | ({"answers_bytes": greatest} if answers is not None else {})


def size_of(file: Path) -> int:
    """Returns a file's bytes; 0 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def killed(command: Sequence[str], tree: Path, answers: Path, size: float) -> None:
    """Runs a process and kills it, with SIGKILL.

    Args:
        command: The words.
        tree: The source tree that it imports.
        answers: A file that it writes.
        size: The bytes of it at which the process is killed.

    Raises:
        RuntimeError: If it ended before.
    """
    with started(command, tree) as (child, _):
        while child.poll() is None:
            if size_of(answers) >= size:
                child.kill()
                child.wait()
                return
            time.sleep(0.02)
        raise RuntimeError(f"{command[2:4]} ended with {child.returncode} before it could be killed")


def kept(output: Path) -> Path:
    """Returns the file in which `predict` keeps its answers until the output is written."""
    return output.with_name(f"{output.name}.unfinished")


def predict_command(run: Path, texts: Path, output: Path, words: Sequence[str]) -> list[str]:
    """Returns the words of a `predict`."""
    command = [sys.executable, "-m", "peft_lightning", "predict", "--config", str(run / "config.yaml")]
    command += ["--ckpt_path", "best", "--data.predict_file", str(texts), "--output", str(output)]
    return [*command, "--trainer.accelerator", "cpu", *words]


def as_markdown(records: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Writes the figures, and how many rows a second of processor time takes beyond a start.

    Args:
        records: What `main` measured, by texts and by who answered them; with `rows`.
    """
    lines = ["| texts | by | wall, s | processor, s | rows per processor second | peak resident, MiB |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, peers in records.items():
        for peer, figures in peers.items():
            start = records.get("1 row", {}).get(peer, {}).get("cpu_s", 0.0)
            beyond = figures["cpu_s"] - start
            # A part of the rows of a killed process was answered before.
            whole = figures["rows"] > 1 and "same_bytes" not in figures
            rate = f"{figures['rows'] / beyond:,.1f}" if whole and beyond > 0 else "–"
            cells = [name, peer, f"{figures['wall_s']:.1f}", f"{figures['cpu_s']:.1f}", rate]
            lines.append(f"| {' | '.join([*cells, format(figures['peak_rss_mib'], ',.0f')])} |")
    return "\n".join(lines)


def main() -> int:
    """Measures, and writes `predict_rows.md` and `predict_rows.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run's directory")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--before", type=Path, help="source tree to compare with, such as a git worktree")
    parser.add_argument("--mixed", type=int, default=4000, help="texts of mixed lengths")
    parser.add_argument("--short", type=int, nargs="*", default=[10_000, 1_000_000], help="numbers of short rows")
    parser.add_argument("--short_length", type=int, default=8, help="tokens that short rows are cut to")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--time_limit_s", type=float, default=3600, help="for one process")
    asked = parser.parse_args()
    run = asked.run.resolve()
    trees = {"ours": _BENCHMARKS.parent} | ({"before": asked.before.resolve()} if asked.before else {})
    batch = ("--data.eval_batch_size", str(asked.batch_size))
    records: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for count in (1, asked.mixed):
            texts = place / f"mixed_{count}.txt"
            texts.write_text("\n".join(mixed_texts(count)) + "\n", encoding="utf-8")
            name = "1 row" if count == 1 else f"{count:,} of mixed lengths"
            own = [*predict_command(run, texts, place / "out.jsonl", batch)]
            commands = {tree: (own, path) for tree, path in trees.items()}
            script = str(_BENCHMARKS / "peers/hf_pipeline.py")
            peer = [sys.executable, script, str(run), "--texts", str(texts), "--output", str(place / "peer")]
            commands["pipeline"] = ([*peer, "--batch_size", str(asked.batch_size)], _BENCHMARKS.parent)
            for who, (command, tree) in commands.items():
                figures = measured(command, tree, asked.time_limit_s) | {"rows": count}
                records.setdefault(name, {})[who] = figures
                print(name, who, json.dumps(figures), flush=True)
        for count in asked.short:
            table = place / f"short_{count}.parquet"
            write_rows(table, "short", count)
            words = (*batch, "--data.max_length", str(asked.short_length))
            command = predict_command(run, table, place / "out.parquet", words)
            whole = place / "out.parquet"
            figures = measured(command, trees["ours"], asked.time_limit_s, kept(whole)) | {"rows": count}
            assert pq.read_metadata(whole).num_rows == count
            records[f"{count:,} short"] = {"ours": figures}
            print(count, "short", json.dumps(figures), flush=True)
            again = place / "again.parquet"
            command = predict_command(run, table, again, words)
            killed(command, trees["ours"], kept(again), figures["answers_bytes"] / 2)
            assert kept(again).exists()
            assert not again.exists()
            figures = measured(command, trees["ours"], asked.time_limit_s) | {"rows": count}
            figures["same_bytes"] = filecmp.cmp(whole, again, shallow=False)
            records[f"{count:,} short, killed halfway"] = {"ours": figures}
            print(count, "short, killed halfway", json.dumps(figures), flush=True)
            whole.unlink()
            again.unlink()
    table_text = as_markdown(records)
    asked.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": describe_machine(), "records": records}
    write_atomically(asked.out / "predict_rows.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(asked.out / "predict_rows.md", f"{table_text}\n\n{json.dumps(content['machine'])}\n".encode())
    print(table_text)
    unlike = [name for name, peers in records.items() if not peers["ours"].get("same_bytes", True)]
    print("\n".join(f"{name}: other answers" for name in unlike), end="")
    return 1 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
