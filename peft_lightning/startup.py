"""Faster imports: context managers and patches that are applied before Lightning is imported."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_utilities.core.imports import RequirementCache

# torchmetrics imports these if they are installed: for plots of metrics, for audio and for image metrics.
_LEFT_OUT = ("matplotlib", "scipy", "torchvision")


@contextmanager
def importing(for_good: bool = False) -> Iterator[None]:
    """Disables garbage collection during imports: modules' objects stay alive, and scanning them takes a seventh.

    Args:
        for_good: Whether later collections, while a run trains, skip these objects too. Only for a process that has
            allocated nothing else yet: all objects that exist at the end of the block are kept until it exits.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def torchmetrics_without_extras() -> Iterator[None]:
    """Makes an import of torchmetrics skip Matplotlib, SciPy and torchvision, as if they were not installed.

    No run uses them, and together they take over a second at every start. Nothing is changed in a process that has
    imported one of them already.
    """
    finder = _TorchmetricsFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


class _TorchmetricsFinder:
    """An import finder that loads torchmetrics without its optional packages."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Finds torchmetrics; returns None for every other module."""
        if fullname != "torchmetrics" or any(name in sys.modules for name in _LEFT_OUT):
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _without_extras(partial(execute, module))  # type: ignore[method-assign]
        return spec


def _without_extras(run: Callable[[], None]) -> None:
    from lightning_utilities.core import imports
    from lightning_utilities.core.imports import RequirementCache

    original, package_available = RequirementCache.__init__, imports.package_available

    def without_extras(found: RequirementCache, *args: Any, **kwargs: Any) -> None:
        original(found, *args, **kwargs)
        if (found.requirement or "").startswith(_LEFT_OUT):
            found.available, found.message = False, "left out to start faster"

    RequirementCache.__init__ = without_extras  # type: ignore[method-assign,assignment]
    imports.package_available = lambda name: name not in _LEFT_OUT and package_available(name)  # type: ignore[assignment]
    try:
        run()
    finally:
        RequirementCache.__init__ = original  # type: ignore[method-assign]
        imports.package_available = package_available


def import_bitsandbytes_without_compiler() -> None:
    """Imports bitsandbytes, if installed, without torch's compiler, which is imported once a function is called.

    PEFT imports bitsandbytes for every method. At import, bitsandbytes passes some functions to ``torch.compile``, for
    which it has kernels on CPUs and NVIDIA's GPUs. Importing the compiler took 0.5 s of a start on a laptop's
    processor, and 3 s on a slow host.
    """
    if "bitsandbytes" in sys.modules or find_spec("bitsandbytes") is None:
        return
    import torch

    original = torch.compile
    torch.compile = _compiled_when_called  # type: ignore[assignment]
    try:
        import bitsandbytes  # noqa: F401
    except Exception:  # the method that needs bitsandbytes reports it missing
        pass
    finally:
        torch.compile = original


@contextmanager
def without_cuda_context(devices: Path = Path("/dev")) -> Iterator[None]:
    """Keeps imports from making a CUDA context or a thread of the driver, after which no process should be forked.

    bitsandbytes asks at import whether there is a GPU, and then what it can do. torch answers the first through CUDA,
    or through NVML, of which driver 580 starts a thread in libcuda on an H200. Here it counts device files instead;
    where there are none, as in WSL, NVML. The second makes a context, and the answer is kept for diagnostics only: GPUs
    can do nothing.

    Args:
        devices: The folder with the device files.
    """
    import torch

    variable = "PYTORCH_NVML_BASED_CUDA_CHECK"
    before = os.environ.get(variable)
    capability, counted = torch.cuda.get_device_capability, torch.cuda._device_count_nvml
    os.environ[variable] = "1"
    torch.cuda.get_device_capability = lambda device=None: (0, 0)
    if files := [path for path in devices.glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]:
        count = 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else len(files)
        torch.cuda._device_count_nvml = lambda: count
    try:
        yield
    finally:
        torch.cuda.get_device_capability, torch.cuda._device_count_nvml = capability, counted
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def has_touched_gpu() -> bool:
    """Tells whether this process has made a CUDA context, or is forked from one that has: it can make none then."""
    torch = sys.modules.get("torch")
    return torch is not None and (torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork())


def _compiled_when_called(function: Callable[..., Any] | None = None, **settings: Any) -> Callable[..., Any]:
    if function is None:  # used as a decorator with settings
        return partial(_compiled_when_called, **settings)
    import torch

    compiled = cache(lambda: torch.compile(function, **settings))

    @wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        return compiled()(*arguments, **more)

    return call
