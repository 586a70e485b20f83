"""What has to happen before Lightning is imported."""

import logging
import sys
from typing import Any

from lightning_utilities.core.imports import RequirementCache


def hush_bitsandbytes() -> None:
    """Silences a line that bitsandbytes logs on some processors: it asks for a kernel that nothing here would use."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def import_torchmetrics_without_plots() -> None:
    """Imports torchmetrics as if Matplotlib were not installed: a run that draws nothing shall not wait for it.

    torchmetrics imports ``matplotlib.pyplot`` wherever it finds it, for plots of single metrics that nobody asks for
    here: a quarter of a second at every start. A process that has Matplotlib already is left as it is.
    """
    if "matplotlib" in sys.modules or "torchmetrics" in sys.modules:
        return
    original = RequirementCache.__init__

    def without_matplotlib(cache: RequirementCache, *args: Any, **kwargs: Any) -> None:
        original(cache, *args, **kwargs)
        if cache.requirement == "matplotlib":
            cache.available, cache.message = False, "left out to start faster"

    RequirementCache.__init__ = without_matplotlib  # type: ignore[method-assign,assignment]
    try:
        import torchmetrics  # noqa: F401
    finally:
        RequirementCache.__init__ = original  # type: ignore[method-assign]
