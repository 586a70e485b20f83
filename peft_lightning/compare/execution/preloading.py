"""What the server of warm starts imports before it forks, and whether it may fork afterwards."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module

from peft_lightning.startup import (
    has_touched_gpu,
    import_bitsandbytes_without_compiler,
    importing,
    torchmetrics_without_extras,
    without_cuda_context,
)

# What a run imports sooner or later, by name, since no import of this program's rises. A run imports the rest itself:
# 46 small modules of 4,552 for QLoRA offline.
IMPORTED = (
    "peft_lightning.commands.fit",
    "peft_lightning.commands.overview",
    "peft_lightning.commands.registry",
    "transformers.models.roberta.modeling_roberta",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.optimization",
    "peft",
    "datasets",
    "pandas",
    "pyarrow.parquet",
    "torch.utils.tensorboard",
    "tensorboard.plugins.hparams.summary",
)
# Read by a library when it is loaded: pyarrow's allocator would start a thread, which a forked process has none of.
WHILE_IMPORTING = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


def preload() -> dict[str, str]:
    """Imports what a run imports.

    Returns:
        The environment variables that the imported libraries have set, as they would in a process of its own.
    """
    before = dict(os.environ)
    with _variables(WHILE_IMPORTING), importing(for_good=True):
        # In the order of a run.
        with torchmetrics_without_extras():
            _import(IMPORTED[0])
        with without_cuda_context():
            import_bitsandbytes_without_compiler()
            for name in IMPORTED[1:]:
                _import(name)
    changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
    # OpenBLAS has started its threads, and ends them before a fork; they start again when they are used.
    _end_after_fork()
    return changed


def unfit_to_fork() -> str | None:
    """Returns why no process should be forked from this one; None if it may."""
    threads = _threads()
    if len(threads) > 1:
        return f"the imports have left {len(threads)} threads ({', '.join(sorted(threads))})"
    if has_touched_gpu():
        return "the imports have touched a GPU"
    return None


def _import(name: str) -> None:
    with suppress(ImportError):  # the run that needs it says so
        import_module(name)


def _threads() -> list[str]:
    names = []
    for number in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{number}/comm", encoding="utf-8") as file:
            names.append(file.read().strip())
    return names


def _end_after_fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables inside, where the user has not."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
