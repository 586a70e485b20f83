"""What a run asks SLURM for: a YAML file, ``--executor_settings``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft_lightning.compare.execution.cluster_settings import read_settings


@dataclass(frozen=True)
class SlurmSettings:
    """What each run asks SLURM for; what is left out is left to the cluster.

    Args:
        partition: The partition, as ``sinfo`` names it.
        time: The time limit of a run, in quotes: ``"02:00:00"``, or ``"30"`` for minutes. A run that reaches it is
            submitted again and goes on from its last checkpoint.
        gpus: Number of GPUs of a run.
        cpus_per_task: Number of processor cores of a run.
        mem: Memory of a run, such as ``16G``.
        account: The account that pays.
        qos: The quality of service.
        constraint: Features of the nodes, such as ``h200``: times and memory are compared within one kind of card.
        environment: Environment variables of a run, besides those of ``compare``.
        setup: Shell lines before a run, such as ``module load cuda``.
        python: The Python interpreter of the nodes; the one that runs ``compare`` if left out.
        options: Further options of ``sbatch``, such as ``--nice=10``.
        ctrl_c: What Ctrl-C does with the runs: ``stop`` lets each write its record and end, ``detach`` leaves them in
            the queue, where ``compare --resume`` finds them.
    """

    partition: str | None = None
    time: str | None = None
    gpus: int | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    setup: str = ""
    python: str | None = None
    options: list[str] = field(default_factory=list)
    ctrl_c: Literal["stop", "detach"] = "stop"

    def words(self) -> list[str]:
        """Returns the options of ``sbatch``."""
        asked = ("partition", "time", "gpus", "cpus_per_task", "mem", "account", "qos", "constraint")
        stated = [(name, getattr(self, name)) for name in asked]
        return [*(f"--{name.replace('_', '-')}={value}" for name, value in stated if value is not None), *self.options]


def read_slurm_settings(path: Path | None) -> SlurmSettings:
    """Reads the settings.

    Args:
        path: The file; None for what the cluster chooses.

    Raises:
        UserError: If it cannot be read, or a setting is none.
    """
    return read_settings(path, SlurmSettings, _time_in_quotes)


def _time_in_quotes(content: Mapping[str, Any]) -> str | None:
    # YAML reads 12:00:00 as 43200, and SLURM would take that for minutes.
    return 'time must be in quotes, such as time: "02:00:00"' if isinstance(content.get("time"), int) else None
