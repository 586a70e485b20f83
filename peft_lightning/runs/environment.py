"""What a run ran on: versions, device, the state of the source tree."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from peft_lightning.runs.record import EnvironmentFigures


def describe_environment(trainer: Trainer) -> EnvironmentFigures:
    """Describes the environment of a run.

    Args:
        trainer: The Trainer, for its device and precision.
    """
    device = trainer.strategy.root_device
    return EnvironmentFigures(
        python=platform.python_version(),
        torch=torch.__version__,
        lightning=_version("lightning") or "",
        transformers=_version("transformers") or "",
        peft=_version("peft") or "",
        bitsandbytes=_version("bitsandbytes"),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        precision=str(trainer.precision),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        git=_git_commit(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Names the processor, and the number of threads torch uses on it."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {torch.get_num_threads()} threads"


def _git_commit() -> str | None:
    """Returns the commit of the source tree that this package runs from, if it is one."""
    tree = Path(__file__).resolve().parents[2]
    if not (tree / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(tree), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
