"""Saves the states of all random number generators in checkpoints, so that a resumed run draws the same dropout."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from peft_lightning.task.gathering import gathered


class RNGState(Callback):
    """Saves the states of Python's, NumPy's and torch's generators, and restores them when a run is resumed.

    Lightning itself saves none of them. They are restored twice: when the fit starts, and again when training starts,
    because Lightning's setup in between may draw from them.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the generators' states as plain values and tensors, which ``weights_only`` loading accepts.

        Those of this process, and of several processes a list beside them: each has drawn its own dropout.
        """
        states = gathered(self._own_state())
        return states[0] if len(states) == 1 else states[0] | {"processes": states}

    @staticmethod
    def _own_state() -> dict[str, Any]:
        version, internal, gauss = random.getstate()
        name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        return {
            "python": [version, list(internal), gauss],
            "numpy": [
                str(name),
                torch.from_numpy(np.asarray(keys).astype(np.int64)),
                position,
                has_gauss,
                cached,
            ],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "cuda_device": torch.cuda.current_device() if torch.cuda.is_available() else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states until the run starts.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        # Read when the run starts: which process this is, is known then.
        self._restored = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the states."""
        processes = (self._restored or {}).get("processes", [])
        if processes and len(processes) == trainer.world_size:
            self._restored = processes[trainer.global_rank]
        self._restore()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the states again, after Lightning's setup."""
        self._restore()
        self._restored = None

    def _restore(self) -> None:
        state = self._restored
        if state is None:
            return
        version, internal, gauss = state["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
            # A process may have another device than before, as the fifth of one machine that was another's first.
            if (device := state.get("cuda_device")) is not None:
                torch.cuda.set_rng_state(state["cuda"][device])
