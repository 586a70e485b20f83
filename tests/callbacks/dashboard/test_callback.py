import io
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image

from peft_lightning.__main__ import main
from peft_lightning.callbacks.dashboard import callback as dashboard
from peft_lightning.callbacks.dashboard.callback import Dashboard
from peft_lightning.callbacks.dashboard.picture import render
from peft_lightning.callbacks.training_curve import TrainingCurve
from peft_lightning.errors import UserError
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.history import History
from tests.callbacks import scripted
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer
from tests.commands.stopping import AT, WITH
from tests.integration.offline_run import SOURCES, checkpoint, history, only_run, record, same
from tests.scripted_time import ScriptedTime

ALWAYS = ("--live", "--live_interval_s", "1e-9")


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test opens a window on the screen of whoever runs it."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """What is drawn: the status, and the steps of the training loss; really drawn, at every chance."""
    drawn: list[tuple[str, list[int]]] = []

    def listed(curves: Any, title: str, status: str, capacity_gib: float | None) -> bytes:
        points = curves.points("train/loss")
        drawn.append((status, [] if points is None else [int(step) for step in points[0]]))
        return render(curves, title, status, capacity_gib)

    monkeypatch.setattr(dashboard, "render", listed)
    monkeypatch.setattr(dashboard, "DRAWING_SHARE", 1e9)
    return drawn


def watched(run: RunDirectory, *callbacks: Any, steps: int = 4, train_s: float = 0.0, **settings: Any) -> None:
    """A run of a scripted module, with the training curve."""
    module = ScriptedModule([1 / step for step in range(1, steps + 1)], train_s=train_s)
    watching = trainer(run.path, TrainingCurve(), *callbacks, loggers=[History(run)], **settings)
    watching.fit(module, datamodule=ScriptedData(train=steps))


def assert_equal_runs(left: Path, right: Path) -> None:
    """Weights, optimiser, random states, predictions and figures are equal to the last bit."""
    ours, theirs = (checkpoint(run / "checkpoints/last.ckpt") for run in (left, right))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
        assert same(ours[part], theirs[part]), part
    # Every generator has drawn as often: a drawing that takes one random number shows here.
    assert same(ours["callbacks"]["RNGState"], theirs["callbacks"]["RNGState"])
    assert ours["callbacks"].keys() == theirs["callbacks"].keys()
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()
    assert history(left) == history(right)
    for part in ("metrics", "config_sha256", "status"):
        assert record(left)[part] == record(right)[part], part
    assert (left / "config.yaml").read_bytes() == (right / "config.yaml").read_bytes()


@pytest.mark.slow
def test_a_watched_run_is_the_same_run(tiny_fit: list[str], pictures: list[Any]) -> None:
    words = [*tiny_fit, "--trainer.max_epochs", "2", "--model.learning_rate", "1e-3"]
    main([*words, "--live", "false"])
    assert pictures == []
    alone = only_run(Path())
    assert not (alone / "dashboard.png").exists()
    main([*words, *ALWAYS])
    live = alone.with_name("version_1")
    assert len(pictures) >= 10, "one at the start, one a step, one at the end"
    assert pictures[0] == ("starting · step 0", [])
    assert pictures[-1] == ("trained · step 8 of 8", [1, 2, 3, 4, 5, 6, 7, 8])
    with Image.open(live / "dashboard.png") as picture:
        assert picture.size == (1200, 660)
    assert_equal_runs(alone, live)
    assert list(live.rglob("*.partial")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(ALWAYS, ()), ((), ALWAYS)], ids=["live first", "live later"])
def test_a_run_may_be_watched_before_or_after_a_resume(
    before: tuple[str, ...],
    after: tuple[str, ...],
    tiny_fit: list[str],
    pictures: list[tuple[str, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    words = [*tiny_fit, "--trainer.max_epochs", "2", "--model.learning_rate", "1e-3"]
    words += ["--checkpoint.every_n_steps", "2", "--checkpoint.max_time_share", "1"]
    words += ["--trainer.callbacks+=tests.commands.stopping.StopAt"]
    monkeypatch.setenv(WITH, "Ctrl-C")
    monkeypatch.setenv(AT, "7")
    with pytest.raises(SystemExit):
        main([*words, *before])
    stopped = only_run(Path())
    if before:
        assert pictures[-1] == ("stopped · step 7 of 8", [1, 2, 3, 4, 5, 6, 7])
    monkeypatch.delenv(AT)
    main([*words, *after, "--ckpt_path", "last"])
    assert only_run(Path()) == stopped, "the same run goes on"
    if after:
        # What came after the checkpoint is cut off, what was before it is there from the first picture on.
        assert pictures[0] == ("starting · step 6", [1, 2, 3, 4, 5, 6])
        assert pictures[-1] == ("trained · step 8 of 8", [1, 2, 3, 4, 5, 6, 7, 8])
        assert (stopped / "dashboard.png").exists()
    assert [str(warning.message) for warning in recwarn if "callbacks" in str(warning.message)] == []
    main(words)
    assert_equal_runs(stopped, stopped.with_name("version_1"))


def test_a_picture_is_drawn_when_it_is_due_and_at_both_ends(run: RunDirectory, pictures: list[Any]) -> None:
    watched(run, Dashboard(run, interval_s=1000), steps=40)
    assert [status for status, _ in pictures] == ["starting · step 0", "trained · step 40 of 40"]


@pytest.mark.slow
def test_slow_drawing_makes_pictures_rarer(
    run: RunDirectory, pictures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    time = ScriptedTime()
    counted: Callable[..., bytes] = vars(dashboard)["render"]  # as `pictures` has put it there

    def slowly(*of: Any) -> bytes:
        time.sleep(1 / 32)
        return counted(*of)

    monkeypatch.setattr(dashboard, "render", slowly)
    for module in (dashboard, scripted):
        monkeypatch.setattr(module, "time", time)
    # A picture takes two steps' time, and drawing at most a sixteenth of all.
    monkeypatch.setattr(dashboard, "DRAWING_SHARE", 1 / 16)
    watched(run, Dashboard(run, interval_s=1e-9), steps=80, train_s=1 / 64)
    assert [len(steps) for _, steps in pictures] == [0, 32, 64, 80]


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan")])
def test_an_interval_that_is_none_is_refused(run: RunDirectory, interval: float) -> None:
    with pytest.raises(UserError, match="live_interval_s"):
        Dashboard(run, interval_s=interval)


def test_a_wrong_interval_on_the_command_line_ends_in_one_line(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, "--live", "--live_interval_s", "0"])
    assert ended.value.code == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert "live_interval_s" in line
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_is_one_warning(run: RunDirectory, pictures: list[Any]) -> None:
    (run.path / "dashboard.png").mkdir()  # as final as a full disk, and the disk is spared
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched(run, Dashboard(run, interval_s=1e-9))
    (line,) = [str(warning.message) for warning in caught if "dashboard" in str(warning.message)]
    assert "training goes on" in line
    assert "\n" not in line
    assert len(pictures) > 2
    assert list(run.path.glob("*.partial")) == []


def test_a_drawing_that_breaks_is_one_warning(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(dashboard, "DRAWING_SHARE", 1e9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched(run, Dashboard(run, interval_s=1e-9))
    assert len([warning for warning in caught if "dashboard" in str(warning.message)]) == 1
    assert run.history.read_text().count("train/loss") == 4


@pytest.mark.slow
def test_a_reader_never_sees_half_a_picture(run: RunDirectory, pictures: list[Any]) -> None:
    path, over, whole = run.path / "dashboard.png", threading.Event(), []

    def read() -> None:
        while not over.is_set():
            if path.exists():
                content = path.read_bytes()
                whole.append(content.endswith(b"IEND\xaeB`\x82"))

    class UntilRead(Callback):
        """How often a reader gets to look while a picture is drawn is the machine's affair."""

        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            trainer.should_stop = len(whole) > 20 and len(pictures) > 8

    reader = threading.Thread(target=read)
    reader.start()
    try:
        watched(run, Dashboard(run, interval_s=1e-9), UntilRead(), steps=2000)
    finally:
        over.set()
        reader.join()
    assert len(whole) > 20
    assert all(whole)


@pytest.mark.slow
def test_other_ranks_and_trial_runs_draw_nothing(
    run: RunDirectory, pictures: list[Any], tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main([*tiny_fit, *ALWAYS, "--trainer.fast_dev_run", "true"])
    assert list(Path().iterdir()) == []
    monkeypatch.setattr("lightning.pytorch.Trainer.is_global_zero", False)
    watched(run, Dashboard(run, interval_s=1e-9))
    assert pictures == []
    assert not (run.path / "dashboard.png").exists()


def test_without_a_display_no_window_is_tried(
    run: RunDirectory, pictures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched(run, Dashboard(run, interval_s=1e-9))
    assert [str(warning.message) for warning in caught if "dashboard" in str(warning.message)] == []
    assert (run.path / "dashboard.png").exists()


def test_gpu_memory_is_sampled_in_gib_and_a_gauge_that_breaks_is_one_warning(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []

    def noted(curves: Any, *rest: Any) -> bytes:
        shown.append((curves, rest[-1]))
        return png("red")

    monkeypatch.setattr(dashboard, "render", noted)
    monkeypatch.setattr(dashboard, "SAMPLE_MEMORY_EVERY_S", 0.0)
    monkeypatch.setattr(dashboard, "cuda_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * 2**30))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2**30)
    watched(run, Dashboard(run))
    curves, capacity = shown[-1]
    assert capacity == 8
    assert [list(part) for part in curves.points("memory/peak")] == [[1, 2, 3, 4], [3, 3, 3, 3]]
    assert list(curves.points("memory/allocated")[1]) == [1, 1, 1, 1]

    def broken(_: Any) -> int:
        raise RuntimeError("no such gauge")

    monkeypatch.setattr(torch.cuda, "memory_allocated", broken)
    with pytest.warns(UserWarning, match="no such gauge; training goes on") as caught:
        watched(run, Dashboard(run))
    assert len([warning for warning in caught if "gauge" in str(warning.message)]) == 1


class Notebook:
    """What a notebook's kernel offers: one shell with a kernel, and outputs that can be replaced."""

    kernel = object()

    def __init__(self) -> None:
        self.outputs: list[list[bytes]] = []

    def get_ipython(self) -> "Notebook":
        return self

    def Image(self, data: bytes) -> bytes:
        return data

    def display(self, image: bytes, display_id: bool) -> Any:
        assert display_id
        output = [image]
        self.outputs.append(output)

        class Handle:
            def update(self, image: bytes) -> None:
                output.append(image)

        return Handle()


def test_a_notebook_shows_one_output_that_changes(
    run: RunDirectory, pictures: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    monkeypatch.setenv("DISPLAY", ":99")  # a notebook on a desktop: inline all the same
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    before = matplotlib.rcParams._get("backend")
    watched(run, Dashboard(run, interval_s=1e-9))
    (output,) = notebook.outputs
    assert len(output) == len(pictures) > 2
    assert output[-1] == (run.path / "dashboard.png").read_bytes()
    assert matplotlib.rcParams._get("backend") == before


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_matplotlib_is_imported_only_when_it_draws(live: bool, tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *(["--live"] if live else [])]
    program = (
        "import sys; from peft_lightning.__main__ import main; main(sys.argv[1:]);"
        "print('imported:', sorted({'matplotlib', 'matplotlib.pyplot'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=_environment(), timeout=1000
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"imported: {['matplotlib'] if live else []}"


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(SOURCES)}


def png(color: str) -> bytes:
    """A picture of one colour."""
    content = io.BytesIO()
    Image.new("RGB", (1200, 660), color).save(content, format="png")
    return content.getvalue()
