"""``python window.py FILE PID``: shows a picture in a window as it changes, while a process lives.

A process of its own: training gives its thread to no event loop, the window answers between two pictures, and a
display that goes away, which ends every process with a window on it, ends this one alone.
"""

import io
import os
import sys
from pathlib import Path

# Seconds between two looks at the file.
LOOK_EVERY_S = 0.5


def show(path: Path, parent: int) -> None:
    """Shows a picture until its window is closed or the process that asked for it is gone.

    Args:
        path: A PNG that is replaced now and then, always as a whole.
        parent: The process that started this one.

    Raises:
        SystemExit: Matplotlib finds nothing to open a window with.
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
