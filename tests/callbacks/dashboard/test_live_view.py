import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from peft_lightning.callbacks.dashboard.live_view import WINDOW, WindowView, has_display
from peft_lightning.runs.files import write_atomically
from tests.callbacks.dashboard.test_callback import png

PATIENCE_S = 200.0


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the windows' pictures land."""
    folder = tmp_path / "shown"
    folder.mkdir()
    monkeypatch.setenv("MPLBACKEND", "module://recording_backend")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PICTURES", str(folder))
    write_atomically(tmp_path / "dashboard.png", png("red"))
    return folder


def color(path: Path) -> tuple[int, ...]:
    """The colour in a picture's middle, once it is there."""
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not shown"
        time.sleep(0.02)
    with Image.open(path) as picture:
        found = picture.convert("RGB").getpixel((600, 330))
    assert isinstance(found, tuple)
    return tuple(int(part) for part in found)


def is_alive(process: int) -> bool:
    """Whether a process runs; it may end, and its files in /proc with it, while it is looked at."""
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_it_ends(view: WindowView) -> None:
    view._process.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("environment", "platform", "seen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_where_a_window_could_be_seen(environment: dict[str, str], platform: str, seen: bool) -> None:
    assert has_display(environment, platform) is seen


@pytest.mark.slow
def test_the_window_shows_each_new_picture_until_it_is_closed(shown: Path, tmp_path: Path) -> None:
    view = WindowView(tmp_path / "dashboard.png")
    assert color(shown / "1.png") == (255, 0, 0)
    write_atomically(tmp_path / "dashboard.png", png("blue"))
    assert view.update(b"")
    assert color(shown / "2.png") == (0, 0, 255)
    view.close()
    assert view._process.returncode is not None


@pytest.mark.slow
def test_a_user_may_close_the_window(shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSE_AFTER", "1")
    view = WindowView(tmp_path / "dashboard.png")
    wait_until_it_ends(view)
    assert view.update(b"") is False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "breaks", "says"),
    [
        ("module://recording_backend", "cannot open display", "cannot open display"),
        ("agg", "", "backend agg opens none"),
        ("nonsense", "", "nonsense"),
    ],
)
def test_a_window_that_cannot_be_opened_says_why_in_one_line(
    backend: str, breaks: str, says: str, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", backend)
    monkeypatch.setenv("BREAK", breaks)
    view = WindowView(tmp_path / "dashboard.png")
    wait_until_it_ends(view)
    with pytest.raises(RuntimeError, match=says) as refused:
        view.update(b"")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_the_window_goes_with_a_killed_training(shown: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, subprocess, sys, time; from pathlib import Path\n"
        "window = subprocess.Popen([sys.executable, '-P', sys.argv[1], sys.argv[2], str(os.getpid())])\n"
        "print(window.pid, flush=True)\n"
        "while not Path(sys.argv[3]).exists(): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    words = [str(WINDOW), str(tmp_path / "dashboard.png"), str(shown / "1.png")]
    done = subprocess.run([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, timeout=PATIENCE_S)
    assert done.returncode == -9
    window, end = int(done.stdout), time.monotonic() + PATIENCE_S
    while is_alive(window):
        assert time.monotonic() < end, "the window outlives the training"
        time.sleep(0.05)
