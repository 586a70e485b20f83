"""Views of the dashboard: inline in a notebook, or in a window if there is a display."""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

WINDOW = Path(__file__).with_name("window.py")


class NotebookView:
    """An output of a notebook's cell whose picture is replaced; the user's Matplotlib backend is left alone.

    Args:
        display: The module ``IPython.display``.
        picture: The first PNG.
    """

    def __init__(self, display: Any, picture: bytes) -> None:
        self._image = display.Image
        self._handle = display.display(self._image(data=picture), display_id=True)

    def update(self, picture: bytes) -> bool:
        """Replaces the picture.

        Args:
            picture: A PNG.

        Returns:
            Always True: a notebook cannot be closed.
        """
        self._handle.update(self._image(data=picture))
        return True

    def close(self) -> None:
        """Does nothing: the last picture stays in the notebook."""


class WindowView:
    """A window in a process of its own, which watches the file.

    Args:
        path: The PNG to show.
    """

    def __init__(self, path: Path) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the window is)
        self._process = subprocess.Popen(
            # -P: Matplotlib must not import files beside the script instead of its own modules.
            [sys.executable, "-P", str(WINDOW), str(path.resolve()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            # Ctrl-C goes to the training process only, which then closes the window.
            start_new_session=True,
        )

    def update(self, picture: bytes) -> bool:
        """Checks whether the window is still open; its process reads the new picture by itself.

        Args:
            picture: A PNG.

        Returns:
            Whether the window is open: the user may have closed it.

        Raises:
            RuntimeError: If the window could not be opened, or its display went away.
        """
        code = self._process.poll()
        if code is None:
            return True
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        self._errors.close()
        if code != 0:
            last = next((line for line in reversed(lines) if line.strip()), f"its process ended with {code}")
            raise RuntimeError(f"no window: {last}")
        return False

    def close(self) -> None:
        """Closes the window."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


def open_view(path: Path, picture: bytes) -> NotebookView | WindowView | None:
    """Opens the view that suits this environment.

    Args:
        path: The PNG that is kept up to date.
        picture: Its content.

    Returns:
        An output in a notebook, a window where there is a display, or None.
    """
    # A notebook has imported IPython already; this package does not depend on it.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is not None:
        return NotebookView(importlib.import_module("IPython.display"), picture)
    return WindowView(path) if has_display(os.environ, sys.platform) else None


def has_display(environment: Mapping[str, str], platform: str) -> bool:
    """Tells whether a window can be shown.

    Args:
        environment: The environment variables.
        platform: The operating system, as in ``sys.platform``.
    """
    if platform in ("darwin", "win32"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
