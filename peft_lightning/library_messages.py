"""Silences log messages and warnings of Lightning and other libraries that a user cannot act on."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGE = Path(__file__).parent


def quieten() -> None:
    """Silences messages of Lightning and its libraries that no user of this program can act on."""
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning.fabric",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*is smaller than the logging interval.*",
        # BOFT in PEFT: one factor needs no extension, and more without it are refused in a line of this program.
        ".*Failed to load the CUDA extension: .*",
        ".*Setting boft_n_butterfly_factor to 1 to speed up.*",
        # PEFT reads a property that transformers has renamed, of every model that gets or loads an adapter.
        ".*`is_gradient_checkpointing` is deprecated.*",
        # A process that has no example of a split: the metrics are of all processes.
        ".*The ``compute`` method of metric .* was called before the ``update`` method.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    # SLURM's commands are installed, and this is none of its jobs: a login node, or a workstation.
    if "SLURM_JOB_ID" not in os.environ:
        warnings.filterwarnings("ignore", message=".*The `srun` command is available on your system but is not used.*")
    warnings.formatwarning = _format_warning
    # Eight-bit layers compute in 16 bits, and say so at every one of their calls.
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_not_about_casts)
    # Logged at import if an optional package has kernels for the processor, even if nothing is quantised.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_not_about_optional_kernels)


@contextmanager
def without_what_trained() -> Iterator[None]:
    """Leaves out Lightning's advice to add the callbacks whose states ``last.ckpt`` has: none measures or predicts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint need to be provided.*")
        yield


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Writes a warning of this program without the place in its code, any other as Lightning does."""
    if Path(filename).is_relative_to(_PACKAGE):
        return f"warning: {message}\n"
    from lightning.fabric.utilities.warnings import _custom_format_warning

    return _custom_format_warning(message, category, filename, lineno, line)


def _not_about_optional_kernels(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward from kernels-community")


def _not_about_casts(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("MatMul8bitLt: inputs will be cast")
