"""Estimates what runs will take from records of the same recipes on the same device, without training anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from peft_lightning.compare.display.time_left import whole_s
from peft_lightning.compare.execution.asked import unlike_settings
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.plan.overrides import values_of
from peft_lightning.compare.stages.run_batches import workload
from peft_lightning.errors import UserError
from peft_lightning.recipes import Config, merge, read_config
from peft_lightning.runs.record import DatasetFigures, RunRecord

# Settings that change nothing but how much is done, so that time follows by counting batches.
AMOUNTS = {"data.n_train", "data.n_val", "data.n_test", "trainer.max_epochs", "trainer.max_steps"}
# Settings that do not change what a step takes.
WITHOUT_COST = {"seed_everything", "model.learning_rate", "recipe", "test_after_fit"}
# Lightning's settings that end a run early, or leave data out: one that a job does not state is not what it will do.
SHORTENING = (
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "max_time",
    "fast_dev_run",
)
# Runs whose mean is taken, the newest.
MOST_USED = 5


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Args:
        run_s: Seconds of a whole run.
        test_s: Seconds of the test at its end.
        runs: Number of earlier runs that it is from.
        scaled: The settings in which these did another amount of work; empty if they did the same.
        device: The device that these ran on, where the run is for another machine than this one.
        on_gpu: Whether these ran on a GPU.
    """

    run_s: float
    test_s: float
    runs: int
    scaled: tuple[str, ...] = ()
    device: str | None = None
    on_gpu: bool = False

    @property
    def source(self) -> str:
        """Where it is from, in words."""
        runs = "1 earlier run" if self.runs == 1 else f"{self.runs} earlier runs"
        on = f" ({self.device})" if self.device is not None else ""
        return f"scaled from {runs} of another {' and '.join(self.scaled)}{on}" if self.scaled else f"from {runs}{on}"


def estimate_runs(jobs: Sequence[FitJob], root: Path, devices: Mapping[str, str | None] | None) -> dict[str, Estimate]:
    """Estimates what jobs will take.

    Args:
        jobs: The jobs.
        root: The folder below which earlier runs lie.
        devices: The names of this machine's devices as records have them, by ``gpu`` and ``cpu``; None for one that it
            does not have. None if the jobs are for other machines: then runs on any device tell, and the estimate names
            it.

    Returns:
        The estimate for each variant of which there is an earlier run.
    """
    first = {job.variant: job for job in reversed(jobs)}
    wanted = {str(job.settings.get("recipe")) for job in first.values()}
    earlier = [(path, record) for path, record in _records(root) if record.recipe in wanted]
    configs: dict[Path, Config | None] = {}
    found = {}
    for variant, job in first.items():
        device = device_of(job.settings, devices) if devices is not None else None
        candidates = [
            (path, record)
            for path, record in earlier
            if record.recipe == job.settings.get("recipe")
            and record.environment is not None
            and (devices is None or record.environment.device == device)
        ]
        made = [
            estimate
            for path, record in candidates
            if (estimate := _estimate(job.settings, path, record, configs)) is not None
        ]
        same = [estimate for estimate in made if not estimate.scaled]
        # What lasts an hour on one card and two on another lasts on neither as long as their mean.
        nearest = same or made
        used = [estimate for estimate in nearest if estimate.device == nearest[0].device][:MOST_USED]
        if used:
            found[variant] = Estimate(
                fmean(estimate.run_s for estimate in used),
                fmean(estimate.test_s for estimate in used),
                len(used),
                tuple(dict.fromkeys(name for estimate in used for name in estimate.scaled)),
                used[0].device if devices is None else None,
                used[0].on_gpu,
            )
    return found


def device_of(settings: Mapping[str, Any], devices: Mapping[str, str | None]) -> str | None:
    """Returns the name of the device that a run will use here, as its record will have it.

    Args:
        settings: The run's settings.
        devices: As for ``estimate_runs``.
    """
    name = devices.get("gpu")
    if name is None or (settings.get("trainer") or {}).get("accelerator") == "cpu":
        name = devices.get("cpu")
    count = gpus_of(settings)
    return name if count == 1 or name is None else f"{count} × {name}"


def gpus_of(settings: Mapping[str, Any]) -> int:
    """Returns the number of GPUs of a run, or of its processes on a CPU, as far as its settings state it."""
    devices = values_of(settings.get("trainer") or {}).get("devices")
    return devices if isinstance(devices, int) and not isinstance(devices, bool) and devices > 0 else 1


def _records(root: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Reads the timed records of runs that finished, the newest first."""
    paths = [(path.stat().st_mtime, path) for path in root.rglob("results.json")]
    for _, path in sorted(paths, reverse=True):
        try:
            record = RunRecord.read(path)
        except UserError:
            continue
        if record.status == "finished" and record.not_measured is None and record.dataset is not None:
            yield path.parent, record


def _estimate(
    settings: Mapping[str, Any], run: Path, record: RunRecord, configs: dict[Path, Config | None]
) -> Estimate | None:
    """Estimates a run from an earlier one; None if that was of other work or was not timed."""
    if run not in configs:
        try:
            configs[run] = read_config(run / "config.yaml", written=True) if (run / "config.yaml").is_file() else None
        except UserError:
            configs[run] = None
    config, dataset = configs[run], record.dataset
    seconds = whole_s(Outcome("finished", record=record))
    if config is None or dataset is None or seconds is None or record.time.train_s is None:
        return None
    other = [name for name in unlike_settings(settings, config) if name not in WITHOUT_COST]
    if not set(other) <= AMOUNTS or _shortened(settings, config):
        return None
    planned_dataset = _dataset(settings, dataset, other)
    if planned_dataset is None:
        return None
    wanted = merge(config, values_of({name: settings.get(name) or {} for name in ("trainer", "data")}))
    done = workload(config["trainer"], config["data"], dataset)
    planned = workload(wanted["trainer"], wanted["data"], planned_dataset)
    # Tries of a rate, and the forecast's runs, are not tested; what they were launched with is not in their settings.
    tested = record.predictions is not None
    evaluated = done.validation + (done.test if tested else 0)
    if not done.train:
        return None
    batch_s = (record.time.eval_s or 0.0) / evaluated if evaluated else 0.0
    train_s = record.time.train_s * planned.train / done.train
    once_s = seconds - record.time.train_s - (record.time.eval_s or 0.0)
    whole = once_s + train_s + batch_s * (planned.validation + planned.test)
    return Estimate(
        seconds if tested and not other else whole,
        batch_s * planned.test,
        1,
        tuple(other),
        record.environment.device if record.environment is not None else None,
        record.memory.train_peak_allocated_gib is not None,
    )


def _shortened(settings: Mapping[str, Any], config: Config) -> bool:
    """Tells whether an earlier run did less than its data and epochs say, for a reason that a job does not state."""
    stated = settings.get("trainer") or {}
    usual = (None, False, 0, 0.0, 1.0)
    return any(name not in stated and config["trainer"].get(name) not in usual for name in SHORTENING)


def _dataset(settings: Mapping[str, Any], dataset: DatasetFigures, other: Sequence[str]) -> DatasetFigures | None:
    """Returns the numbers of examples of a planned run; None if it takes all there are, and their number is unknown."""
    data = values_of(settings.get("data") or {})
    sizes = {name: data.get(name) for name in ("n_train", "n_val", "n_test") if f"data.{name}" in other}
    known: dict[str, Any] = {name: size for name, size in sizes.items() if isinstance(size, int)}
    return replace(dataset, **known) if len(known) == len(sizes) else None
