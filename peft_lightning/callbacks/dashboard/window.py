"""``python window.py FILE PID``: shows a picture in a window and follows its changes while a process lives.

The window has a process of its own. So training does not share its thread with an event loop, and the window responds
between two pictures. A display that goes away ends every process with a window on it: here, only this one.
"""

import io
import os
import sys
from pathlib import Path

# Seconds between two checks of the file.
LOOK_EVERY_S = 0.5


def show(path: Path, parent: int) -> None:
    """Shows a picture until its window is closed or the parent process has ended.

    Args:
        path: A PNG that is replaced from time to time, always as a whole.
        parent: Id of the process that started this one.

    Raises:
        SystemExit: If Matplotlib has no backend that opens a window.
    """
    import matplotlib
    from matplotlib import pyplot

    shown = path.read_bytes()
    matplotlib.rcParams["toolbar"] = "None"
    figure = pyplot.figure("peft-lightning", figsize=(12, 6.6), dpi=100)
    if figure.canvas.required_interactive_framework is None:
        sys.exit(f"Matplotlib's backend {pyplot.get_backend()} opens none (pip install PySide6 brings one that does)")
    picture = figure.figimage(pyplot.imread(io.BytesIO(shown)))

    def look() -> None:
        nonlocal shown
        if os.getppid() != parent:
            pyplot.close(figure)
            return
        content = path.read_bytes()
        if content != shown:
            shown = content
            picture.set_data(pyplot.imread(io.BytesIO(content)))
            figure.canvas.draw_idle()

    timer = figure.canvas.new_timer(interval=int(1000 * LOOK_EVERY_S))
    timer.add_callback(look)
    timer.start()
    pyplot.show(block=True)


if __name__ == "__main__":
    show(Path(sys.argv[1]), int(sys.argv[2]))
