"""Records as runs leave them, written where a comparison looks for them."""

from pathlib import Path
from typing import Any

from peft_lightning.runs.record import MemoryFigures, RunRecord, Status, TimeFigures


def record(status: Status = "finished", error: str | None = None, **metrics: float) -> RunRecord:
    """A record of a run of 10 s to start, 60 s of training and 5 s of evaluation."""
    return RunRecord(
        *("id", "lora", "sha", "lora", 1, 42),
        status=status,
        error=error,
        memory=MemoryFigures(train_peak_rss_gib=0.5),
        time=TimeFigures(startup_s=10.0, train_s=60.0, epoch_s=[40.0, 20.0], eval_s=5.0, steps=100),
        metrics={name.replace("_", "/"): value for name, value in metrics.items()},
    )


def leave(folder: Path, version: int, of: RunRecord | None = None, **changes: Any) -> Path:
    """Leaves a run directory with a record below a planned run's folder."""
    run = folder / f"lightning_logs/lora/version_{version}"
    run.mkdir(parents=True)
    left = of or record()
    for name, value in changes.items():
        setattr(left, name, value)
    left.write(run / "results.json")
    return run
