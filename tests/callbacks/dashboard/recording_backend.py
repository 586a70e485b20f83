"""A Matplotlib backend whose windows nobody sees: each picture they are asked to show lands in a file.

``MPLBACKEND=module://recording_backend``, with PICTURES naming a folder; CLOSE_AFTER is the number of pictures after
which its user closes the window, and BREAK what it dies with instead of opening one.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureManagerBase, TimerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg

TIMERS: list[Any] = []
OPEN: list[Any] = []


class Timer(TimerBase):
    def start(self, interval: int | None = None) -> None:
        TIMERS.append(self)


class Manager(FigureManagerBase):
    def __init__(self, canvas: Any, num: Any) -> None:
        if "BREAK" in os.environ:
            print("a line before", file=sys.stderr)
            sys.exit(os.environ["BREAK"])
        super().__init__(canvas, num)
        OPEN.append(self)

    def destroy(self, *args: Any) -> None:
        OPEN.remove(self)

    @classmethod
    def start_main_loop(cls) -> None:
        folder, shown = Path(os.environ["PICTURES"]), 0
        while OPEN and shown < int(os.environ.get("CLOSE_AFTER", "1000000")):
            for timer in TIMERS:
                timer._on_timer()
            if Canvas.stale_since_shown and OPEN:
                Canvas.stale_since_shown = False
                shown += 1
                OPEN[0].canvas.figure.savefig(folder / f"{shown}.partial", format="png")
                (folder / f"{shown}.partial").rename(folder / f"{shown}.png")
            time.sleep(0.05)


class Canvas(FigureCanvasAgg):
    # What Matplotlib takes a machine without a display for: any other word would be refused there.
    required_interactive_framework = "headless"
    manager_class = Manager
    stale_since_shown = True

    def draw_idle(self, *args: Any, **kwargs: Any) -> None:
        type(self).stale_since_shown = True

    def new_timer(self, *args: Any, **kwargs: Any) -> Timer:
        return Timer(*args, **kwargs)


@_Backend.export
class _BackendRecording(_Backend):
    FigureCanvas = Canvas
    FigureManager = Manager
    backend_version = "1"
    mainloop = Manager.start_main_loop
