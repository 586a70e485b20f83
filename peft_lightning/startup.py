"""What has to happen before Lightning is imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_utilities.core.imports import RequirementCache

# For plots of single metrics, for sound and for pictures: torchmetrics imports them wherever it finds them.
_LEFT_OUT = ("matplotlib", "scipy", "torchvision")


@contextmanager
def importing(for_good: bool = False) -> Iterator[None]:
    """Imports without looking for garbage: what modules are made of stays, and to look through it takes a seventh.

    Args:
        for_good: nor is it looked through again later on, while a run trains. Only for a process that has held nothing
            else yet: whatever there is by then is kept to its end.
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
    """Imports torchmetrics, if anything does, as if Matplotlib, SciPy and torchvision were not installed.

    No run uses them, and together they take a second and more at every start. A process that has one of them already
    is left as it is.
    """
    finder = _TorchmetricsFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


class _TorchmetricsFinder:
    """Finds torchmetrics as usual, and has it executed without what it need not find."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Finds torchmetrics, and leaves everything else to others."""
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
    """Imports bitsandbytes, where it is installed, without torch's compiler, which comes when something is compiled.

    PEFT imports it for whatever method, and it hands torch.compile some functions that it has kernels for on CPUs and
    NVIDIA's GPUs: the compiler alone took 0.5 s of a start on a laptop's processor, and 3 s on a slow host.
    """
    if "bitsandbytes" in sys.modules or find_spec("bitsandbytes") is None:
        return
    import torch

    original = torch.compile
    torch.compile = _compiled_when_called  # type: ignore[assignment]
    try:
        import bitsandbytes  # noqa: F401
    except Exception:  # whoever needs it says so, in words of their own
        pass
    finally:
        torch.compile = original


def _compiled_when_called(function: Callable[..., Any] | None = None, **settings: Any) -> Callable[..., Any]:
    if function is None:  # a decorator with settings
        return partial(_compiled_when_called, **settings)
    import torch

    compiled = cache(lambda: torch.compile(function, **settings))

    @wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        return compiled()(*arguments, **more)

    return call
