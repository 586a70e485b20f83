"""The live dashboard: loss, metric, learning rate and GPU memory, drawn with Matplotlib during training."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from peft_lightning.callbacks.dashboard.live_view import NotebookView, WindowView, open_view
from peft_lightning.callbacks.dashboard.picture import render
from peft_lightning.callbacks.gpu_memory import GIB
from peft_lightning.callbacks.measured_device import cuda_device
from peft_lightning.callbacks.measured_task import task_of
from peft_lightning.errors import Setting, UserError
from peft_lightning.optim.steps import steps_in_all
from peft_lightning.runs.curves import Curves
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.history import History
from peft_lightning.runs.record import RunRecord

# Drawing takes at most this share of the time, whatever the interval: with a slow disk, pictures are rarer.
DRAWING_SHARE = 0.05
SAMPLE_MEMORY_EVERY_S = 1.0
PICTURE = "dashboard.png"
NO_MEMORY = "the dashboard does not show the GPU's memory"


class Dashboard(Callback):
    """Draws a run's curves to ``dashboard.png``, and in a window or a notebook if there is one.

    It only observes: it reads the curves from the run's history, and each failure becomes one warning. The history has
    no GPU memory, so that curve starts again after a resume.

    Args:
        run: The run to watch; its directory must exist when training starts.
        interval_s: Seconds between two pictures, at least.
    """

    def __init__(self, run: RunDirectory, interval_s: float = 5.0) -> None:
        if not interval_s > 0:
            raise UserError(Setting("live_interval_s"), f" is {interval_s}: it must be above 0")
        self._run = run
        self._interval_s = interval_s
        self._curves: Curves | None = None
        self._view: NotebookView | WindowView | None = None
        self._total_steps: int | None = None
        self._capacity_gib: float | None = None
        self._next_picture = self._next_sample = 0.0
        self._warned: set[str] = set()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the first picture, with the earlier curves of a resumed run, before the training clock starts."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._curves = Curves(self._run.history, task_of(pl_module).headline)
        with self._one_warning(NO_MEMORY):
            device = cuda_device(trainer)
            if device is not None:
                self._capacity_gib = torch.cuda.get_device_properties(device).total_memory / GIB
        picture = self._draw(trainer, "starting", always=True)
        if picture is not None:
            with self._one_warning("the dashboard is not shown"):
                self._view = open_view(self._run.path / PICTURE, picture)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gets the number of steps of the run."""
        self._total_steps = steps_in_all(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draws a picture where one is due."""
        if self._curves is None:
            return
        now = time.perf_counter()
        if self._capacity_gib is not None and now >= self._next_sample:
            self._next_sample = now + SAMPLE_MEMORY_EVERY_S
            with self._one_warning(NO_MEMORY):
                self._sample_memory(trainer, self._curves)
        if now >= self._next_picture:
            self._draw(trainer, "training")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws a picture where one is due."""
        if trainer.state.fn == "fit" and time.perf_counter() >= self._next_picture:
            self._draw(trainer, "training")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the last picture and closes the window."""
        self._close(trainer, "trained")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws the curves up to the error and closes the window."""
        self._close(trainer, "stopped")

    def _close(self, trainer: Trainer, state: str) -> None:
        self._draw(trainer, state, always=True)
        self._curves = None
        if self._view is not None:
            with self._one_warning("the dashboard's window did not close"):
                self._view.close()
            self._view = None

    def _draw(self, trainer: Trainer, state: str, always: bool = False) -> bytes | None:
        """Draws, if there is something new to draw, and returns the picture."""
        if self._curves is None:
            return None
        started = time.perf_counter()
        picture = None
        with self._one_warning(f"{PICTURE} is not up to date"):
            for logger in trainer.loggers:
                if isinstance(logger, History):
                    logger.save()
            if self._curves.read() or always:
                picture = render(self._curves, self._title(), self._status(state), self._capacity_gib)
                write_atomically(self._run.path / PICTURE, picture)
        if picture is not None and self._view is not None:
            view, self._view = self._view, None
            with self._one_warning("the dashboard is not shown"):
                self._view = view if view.update(picture) else None
        ended = time.perf_counter()
        self._next_picture = ended + max(self._interval_s, (ended - started) / DRAWING_SHARE)
        return picture

    def _title(self) -> str:
        method, version = self._run.runs.name, self._run.path.name
        # A resumed run keeps the id that it has on disk.
        run_id = f" · run {RunRecord.read(self._run.results).run_id[:8]}" if self._run.results.exists() else ""
        return f"{method} · {version}{run_id}"

    def _status(self, state: str) -> str:
        step = self._curves.step if self._curves is not None else 0
        total = self._total_steps
        return f"{state} · step {step:,}" + (f" of {total:,}" if total is not None and total >= step else "")

    def _sample_memory(self, trainer: Trainer, curves: Curves) -> None:
        device = cuda_device(trainer)
        # GPUMemory resets the peak around every evaluation; here it is only read.
        curves.add("memory/peak", trainer.global_step, torch.cuda.max_memory_allocated(device) / GIB)
        curves.add("memory/allocated", trainer.global_step, torch.cuda.memory_allocated(device) / GIB)

    @contextmanager
    def _one_warning(self, what: str) -> Iterator[None]:
        """Turns any exception inside into a warning of one line, given once."""
        try:
            yield
        except Exception as error:
            if what not in self._warned:
                self._warned.add(what)
                reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
                rank_zero_warn(f"{what}: {reason}; training goes on")
