"""The environment of a run: library versions, device, and the commit of the source tree."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from peft_lightning.runs.record import EnvironmentFigures

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def describe_environment(trainer: Trainer) -> EnvironmentFigures:
    """Describes the environment of a run.

    Args:
        trainer: The Trainer, for its device and precision.
    """
    device = trainer.strategy.root_device
    return EnvironmentFigures(
        python=platform.python_version(),
        torch=torch.__version__,
        lightning=installed_version("lightning") or "",
        transformers=installed_version("transformers") or "",
        peft=installed_version("peft") or "",
        bitsandbytes=installed_version("bitsandbytes"),
        device=_times(trainer.world_size)
        + (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{processor_name()}, {torch.get_num_threads()} threads"
        ),
        precision=str(trainer.precision),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        git=_git_commit(),
    )


def software_versions() -> dict[str, str | None]:
    """Returns the versions of the libraries that compute a model's answers."""
    return {name: installed_version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}


def _times(processes: int) -> str:
    """Words how many devices a run has, so that its time is not compared with that of one."""
    return f"{processes} × " if processes > 1 else ""


def installed_version(package: str) -> str | None:
    """Returns the version of an installed package, or None.

    Args:
        package: The package's name for pip.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_name() -> str:
    """Returns the name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """Returns the commit of the git checkout that this package runs from; None outside one."""
    tree = Path(__file__).resolve().parents[2]
    if not (tree / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
