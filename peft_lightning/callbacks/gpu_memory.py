"""Measures the memory of a run: separate peaks of training and evaluation; on a CPU the resident memory."""

from collections.abc import Mapping
from typing import Any

import psutil
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.callbacks.measured_device import cuda_device
from peft_lightning.engine.sharded_tensors import own_part
from peft_lightning.methods.parameters import stored_bytes
from peft_lightning.runs.process_start import runs_on_device
from peft_lightning.task.gathering import gathered, largest, process_number

GIB = 2**30


class GPUMemory(Callback):
    """Measures peak memory in GiB by torch's allocator, and the shares of weights, gradients and optimiser.

    Of several devices each peak is the largest, and ``by_process`` has those of each. Figures that a device lacks stay
    null. A CPU has no such allocator: there the resident memory of the process is sampled after every step and reported
    under its own name.
    """

    section = "memory"

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {}
        self._by_process: list[dict[str, int]] = []
        self._parts: dict[str, int] = {}
        self._paged_bytes = 0
        self._process = psutil.Process()

    def figures(self) -> Mapping[str, Any]:
        """Returns the record's ``memory`` section."""
        each = self._peaks_by_process()
        figures: dict[str, Any] = _gib(largest(each) | self._parts)
        if len(each) > 1:
            figures["by_process"] = [_gib(peaks) for peaks in each]
        peak = figures.get("train_peak_allocated_gib")
        if peak is not None and self._parts:
            # The rest of the peak is activations and workspaces. Paged optimiser state lies outside the allocator, so
            # it is not subtracted.
            figures["activations_gib"] = peak + (self._paged_bytes - sum(self._parts.values())) / GIB
        return figures

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts a training phase."""
        self._reset(trainer)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measures weights and gradients once, when all gradients exist."""
        if "gradients_gib" not in self._parts:
            parameters = list(pl_module.parameters())
            weights = sum(stored_bytes(own_part(parameter)) for parameter in parameters)
            self._parts["weights_gib"] = weights + sum(_bytes(buffer) for buffer in pl_module.buffers())
            self._parts["gradients_gib"] = sum(_bytes(p.grad) for p in parameters if p.grad is not None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measures the optimiser's state once, and samples the resident memory on a CPU."""
        if "optimizer_gib" not in self._parts and trainer.global_step > 0:
            states = [state for optimizer in trainer.optimizers for state in _state_tensors(optimizer)]
            self._parts["optimizer_gib"] = sum(_bytes(state) for state in states)
            self._paged_bytes = sum(_bytes(state) for state in states if getattr(state, "is_paged", False))
        if cuda_device(trainer) is None:
            self._raise_peak("train_peak_rss_gib", self._process.memory_info().rss)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends a training phase."""
        self._read_training(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the next training phase."""
        self._read_evaluation(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the last training phase and logs the peaks."""
        self._read_training(trainer)
        figures = {f"memory/{name}": value for name, value in self.figures().items() if "peak" in name}
        # Runs on one device leave each other less of it.
        for logger in trainer.loggers if runs_on_device() == 1 else []:
            logger.log_metrics(figures, step=trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts an evaluation phase."""
        self._reset(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends an evaluation phase."""
        self._read_evaluation(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Returns the peaks so far, those of all processes: the first one's state is saved."""
        return {
            "peaks": largest(self._peaks_by_process()),
            "by_process": [dict(peaks) for peaks in self._peaks_by_process()],
            "parts": dict(self._parts),
            "paged_bytes": self._paged_bytes,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a killed run's peaks.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self._by_process = [dict(peaks) for peaks in state_dict.get("by_process", ())]  # older checkpoints lack it
        each = self._by_process or [state_dict["peaks"]]
        self._peaks = dict(each[min(process_number(), len(each) - 1)])
        self._parts = dict(state_dict["parts"])
        self._paged_bytes = state_dict["paged_bytes"]

    def _read_training(self, trainer: Trainer) -> None:
        device = cuda_device(trainer)
        if device is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._raise_peak("train_peak_allocated_gib", torch.cuda.max_memory_allocated(device))
            self._raise_peak("train_peak_reserved_gib", torch.cuda.max_memory_reserved(device))
        self._compare_peaks()
        self._reset(trainer)

    def _read_evaluation(self, trainer: Trainer) -> None:
        device = cuda_device(trainer)
        if device is not None:
            self._raise_peak("eval_peak_allocated_gib", torch.cuda.max_memory_allocated(device))
            self._raise_peak("eval_peak_reserved_gib", torch.cuda.max_memory_reserved(device))
        self._compare_peaks()
        self._reset(trainer)

    def _reset(self, trainer: Trainer) -> None:
        device = cuda_device(trainer)
        if device is not None:
            torch.cuda.reset_peak_memory_stats(device)

    def _compare_peaks(self) -> None:
        """Learns the peaks of all processes: a device has to hold the largest."""
        self._by_process = gathered(dict(self._peaks))

    def _peaks_by_process(self) -> list[dict[str, int]]:
        """Returns the peaks of all processes when they last compared them, and this one's as they are now."""
        if len(self._by_process) <= 1:
            return [self._peaks]
        here = process_number()
        return [self._peaks if number == here else peaks for number, peaks in enumerate(self._by_process)]

    def _raise_peak(self, name: str, count: int) -> None:
        self._peaks[name] = max(count, self._peaks.get(name, 0))


def _gib(counts: Mapping[str, int]) -> dict[str, float]:
    return {name: count / GIB for name, count in counts.items()}


def _bytes(tensor: torch.Tensor) -> int:
    own = own_part(tensor)
    return own.numel() * own.element_size()


def _state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    values = [value for state in optimizer.state.values() for value in state.values()]
    return [value for value in values if isinstance(value, torch.Tensor)]
