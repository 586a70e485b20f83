"""Measures what the harness itself costs with many runs: to plan, to watch, to resume and to report them.

    python benchmarks/scale.py --out benchmarks/results/NAME

Runs are generated and not trained: records, settings, histories and predictions as `fit` writes them. Each step is a
process of its own, of which processor time and peak resident memory are measured; wall time means little on a busy
machine. `watch` holds --at_once jobs running under a live table of 80 × 24, and counts processor time for each second.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from peft_lightning.compare.execution.executor import Pool
from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part, read_parts
from peft_lightning.compare.stages.compared_runs import run_list
from peft_lightning.runs import record as figures
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.predictions import Answers, write_answers
from peft_lightning.runs.progress import Progress, read_progress
from peft_lightning.task import SingleLabel
from side_by_side.results import describe_machine

SEEDS = 10
STEPS = ("plan", "watch", "resume", "report")
# Lines and columns of the terminal that the live table is drawn in.
HEIGHT, WIDTH = 24, 80


def generate(folder: Path, runs: int, answers: int) -> None:
    """Writes a comparison whose runs have finished: of --runs / 10 recipes with ten seeds each.

    Args:
        folder: The comparison's folder.
        runs: Number of runs.
        answers: Number of predictions of each run.
    """
    resolved = _resolved()
    names = [f"method_{number:03d}" for number in range(max(2, runs // SEEDS))]
    recipes = []
    with tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(names):
            path = Path(place) / f"{name}.yaml"
            model = resolved["model"] | {"learning_rate": 1e-3 if number % 2 else 3e-4}
            path.write_text(yaml.safe_dump({"model": model, "data": resolved["data"], "trainer": {"max_epochs": 3}}))
            recipes.append(str(path))
        plan = build_plan(recipes, range(1, runs // len(names) + 1))
    plan.write(folder)
    labels = np.arange(answers) % 2
    hard = np.random.default_rng(0).permutation(answers) / answers
    for number, run in enumerate(plan.runs(folder)):
        directory = run.folder / "lightning_logs" / "lora" / "version_0"
        directory.mkdir(parents=True)
        rng = np.random.default_rng(number)
        right = round(answers * (0.9 - 0.0005 * names.index(run.label) + 0.004 * rng.standard_normal()))
        wrong = (hard + rng.normal(0, 0.05, answers)).argsort().argsort() >= right
        sure = rng.uniform(0.5, 1.0, answers).astype(np.float32)
        first = np.where(wrong == (labels == 0), 1 - sure, sure)
        probabilities = np.stack([first, 1 - first], axis=1).astype(np.float32)
        write_answers(
            directory / "predictions.parquet",
            Answers(np.arange(answers), labels, probabilities, SingleLabel(("negative", "positive"))),
        )
        settings = resolved | {"seed_everything": run.seed, "model": run.settings["model"]}
        settings["trainer"] = resolved["trainer"] | {"max_epochs": 3, "default_root_dir": str(run.folder)}
        (directory / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        _write_history(directory / "history.csv", rng)
        _record(run.label, run.seed, answers, float(1 - wrong.mean())).write(directory / "results.json")


def _resolved() -> dict[str, Any]:
    """Returns the settings of a run as `fit` resolves and keeps them."""
    command = [sys.executable, "-m", "peft_lightning", "fit", "--config", "configs/lora.yaml", "--print_config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    content: dict[str, Any] = yaml.safe_load(printed.stdout)
    return {key: value for key, value in content.items() if key not in ("ckpt_path", "recipe", "live")}


def _write_history(path: Path, rng: np.random.Generator) -> None:
    lines = ["step,name,value"]
    for step in range(10, 1126, 10):
        lines.append(f"{step},train/loss,{0.2 + 0.5 * float(np.exp(-step / 300)) + 0.05 * rng.standard_normal():.6f}")
        if step % 370 == 0:
            lines += [f"{step},val/loss,0.3", f"{step},val/acc,{0.8 + step / 10000:.4f}"]
    path.write_text("\n".join(lines) + "\n")


def _record(label: str, seed: int, answers: int, accuracy: float) -> figures.RunRecord:
    return figures.RunRecord(
        *(f"{label}-{seed}", label, "b" * 64, "lora", seed, 42),
        status="finished",
        backbone=figures.BackboneFigures("roberta-base", None, "c" * 64, "roberta"),
        dataset=figures.DatasetFigures("films", "a" * 64, 3000, 1000, answers, 256, 0.4),
        params=figures.ParameterFigures(1_181_954, 589_824, 592_130, 124_647_170, 0.95),
        memory=figures.MemoryFigures(0.5, 0.01, 0.01, 0.8, 1.35, 1.5, 1.0, 1.2),
        time=figures.TimeFigures(9.0, 240.0 + seed, [80.0] * 3, 30.0, 1125, 37.5, "warm"),
        metrics={"test/acc": accuracy, "test/f1": accuracy, "test/auroc": accuracy, "val/acc": accuracy},
        history="history.csv",
        predictions="predictions.parquet",
        checkpoint_bytes=4_728_000,
        environment=figures.EnvironmentFigures(
            *("3.11.7", "2.13.0", "2.6.6", "5.23.0", "0.21.2", "0.50.2"), "one GPU", "bf16-mixed", False, None
        ),
    )


class _Standing:
    """A job that runs until it is told to end, and reports progress as a run does."""

    stays = False

    def __init__(self, job: Job, until: float) -> None:
        self._file = job.folder / "progress.json"
        self._began, self._until = time.monotonic(), until
        self._file.parent.mkdir(parents=True, exist_ok=True)
        Progress("train", 100, 1125, 20.0).write(self._file)

    @property
    def running(self) -> bool:
        return time.monotonic() < self._until

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def progress(self) -> Progress | None:
        return read_progress(self._file)

    def wait(self, patience_s: float) -> bool:
        return not self.running

    def outcome(self) -> Outcome:
        raise SystemExit  # the time of the measurement is over

    def interrupt(self) -> None: ...

    def stop(self, patience_s: float = 0.0) -> None: ...

    def kill(self) -> None: ...


class _StandingExecutor:
    elsewhere = False

    def __init__(self, until: float) -> None:
        self._until = until

    def places(self, count: int | None, accelerators: Sequence[object] = (), gpus_per_run: int = 1) -> list[str | None]:
        return [None] * (count or 1)

    def start(self, job: Job, place: str | None) -> _Standing:
        return _Standing(job, self._until)


def watch(folder: Path, at_once: int, seconds: float) -> dict[str, float]:
    """Watches jobs that stand still, and returns the processor time of a second and the lines of the table.

    Args:
        folder: The comparison's folder.
        at_once: Number of jobs that run at the same time.
        seconds: How long to watch.
    """
    from rich.console import Console

    from peft_lightning.compare.display.live_table import LiveTable
    from peft_lightning.compare.execution.runner import run_jobs

    jobs = run_list(*_only(folder))
    console = Console(file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT)
    table = LiveTable("runs", {}, at_once, console)
    done = Outcome("finished", record=_record("method", 1, 100, 0.9))

    def before(place: Path) -> Outcome | None:
        return done if place in half else None

    began: list[float] = []

    class _View:
        """The live table, and the processor time from its first drawing on."""

        def begin(self, rows: Any) -> None:
            table.begin(rows)

        def started(self, row: Any) -> None:
            table.started(row)

        def update(self) -> None:
            if not began:
                began.extend((time.process_time(), time.monotonic()))
            table.update()

        def ended(self, row: Any) -> None: ...

        def end(self) -> None: ...

    with tempfile.TemporaryDirectory() as place:
        moved = [type(job)(job.label, job.what, Path(place) / str(n), job.settings) for n, job in enumerate(jobs)]
        # Half of them have finished: a table of which all cells are empty would cost less.
        half = {job.folder for job in moved[: len(moved) // 2]}
        pool = Pool(_StandingExecutor(time.monotonic() + seconds), [None] * at_once)
        try:
            run_jobs(moved, pool, _View(), before=before)
        except SystemExit:
            spent, wall = time.process_time() - began[0], time.monotonic() - began[1]
    return {"cpu_ms_a_second": 1000 * spent / wall, "lines": _lines(table)}


def _lines(table: Any) -> int:
    """Returns the lines that a live table has now; it is drawn on a console that shows nothing live."""
    from rich.console import Console

    shown = io.StringIO()
    Console(file=shown, width=WIDTH, height=HEIGHT).print(table._drawn(whole=False))
    return shown.getvalue().count("\n")


def _only(folder: Path) -> tuple[Part, dict[str, float]]:
    (part,) = read_parts(folder)
    return part, {}


def step(name: str, folder: Path, at_once: int, seconds: float) -> dict[str, float]:
    """Does one of the steps in this process, and returns what it took."""
    found: dict[str, float] = {}
    with (folder / "printed.txt").open("w") as printed:
        standard, sys.stdout = sys.stdout, printed
        try:
            if name == "plan":
                run_list(*_only(folder))
            elif name == "watch":
                found = watch(folder, at_once, seconds)
            elif name == "resume":
                from peft_lightning.compare.execution.outcomes import finished_before

                for job in run_list(*_only(folder)):
                    if job.unlike() or finished_before(job.folder) is None:
                        raise RuntimeError(f"{job.title} would train again")
            else:
                from peft_lightning.compare.report import write_report

                if failed := write_report(folder, texts=False):
                    raise RuntimeError(failed[0])
        finally:
            sys.stdout = standard
    used = resource.getrusage(resource.RUSAGE_SELF)
    return found | {"cpu_s": used.ru_utime + used.ru_stime, "peak_rss_gib": used.ru_maxrss / 2**20}


def as_markdown(measured: dict[str, dict[str, dict[str, float]]]) -> str:
    """Returns the figures as a table in Markdown.

    Args:
        measured: What each step took, by the number of runs and the step's name.
    """
    heading = ["runs", "plan", "resume: find all finished", "report", "watch, of each second", "a running job", "lines"]
    lines = [heading, ["---:"] * len(heading)]
    for runs, steps in measured.items():
        cells = [f"{int(runs):,}"]
        for name in ("plan", "resume", "report"):
            cells.append(f"{steps[name]['cpu_s']:.1f} s, {steps[name]['peak_rss_gib']:.2f} GiB")
        watched = steps["watch"]
        cells += [f"{watched['cpu_ms_a_second']:.0f} ms", f"{watched['cpu_ms_a_second'] / watched['at_once']:.2f} ms"]
        lines.append([*cells, f"{watched['lines']:.0f} of {HEIGHT}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Measures each number of runs and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for scale.json and scale.md")
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 300, 1000], help="numbers of runs")
    parser.add_argument("--answers", type=int, default=25_000, help="predictions of each run")
    parser.add_argument("--at_once", type=int, default=50, help="jobs that run at the same time while it watches")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long it watches")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step is not None:
        print(json.dumps(step(arguments.step, arguments.folder, arguments.at_once, arguments.seconds)))
        return
    if arguments.out is None:
        parser.error("--out names no folder")
    measured: dict[str, dict[str, dict[str, float]]] = {}
    for runs in arguments.runs:
        folder = Path(tempfile.mkdtemp(prefix="scale_")) / "mine"
        try:
            generate(folder, runs, arguments.answers)
            measured[str(runs)] = {}
            for name in STEPS:
                words = ["--step", name, "--folder", str(folder), "--at_once", str(arguments.at_once)]
                words += ["--seconds", str(arguments.seconds)]
                command = [sys.executable, __file__, *words]
                answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
                measured[str(runs)][name] = json.loads(answer.stdout.splitlines()[-1])
                print(runs, name, measured[str(runs)][name], flush=True)
            measured[str(runs)]["watch"]["at_once"] = arguments.at_once
        finally:
            shutil.rmtree(folder.parent)
    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    content = {"answers": arguments.answers, "runs": measured, "machine": machine}
    write_atomically(arguments.out / "scale.json", (json.dumps(content, indent=2) + "\n").encode())
    made_by = f"`python benchmarks/scale.py --out DIR --answers {arguments.answers} --at_once {arguments.at_once}`"
    text = f"{as_markdown(measured)}\n{made_by}; {json.dumps(machine)}\n"
    write_atomically(arguments.out / "scale.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
