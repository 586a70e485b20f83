"""bitsandbytes' paged 8-bit AdamW, fixed so that a resumed run pages its state as the first run did.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from bitsandbytes.optim.adamw import PagedAdamW8bit
from torch import nn

from peft_lightning.optim.eight_bit_state import MOMENTS
from peft_lightning.optim.stochastic_rounding import StochasticRounding

# Bytes of free GPU memory below which a step's own allocations may have driven pages out.
_SCARCE = 256 * 2**20
# Steps between two looks at it, for which the driver is asked. State that is away meanwhile comes page by page.
_LOOKS_EVERY = 16


class ResumablePagedAdamW8bit(StochasticRounding, PagedAdamW8bit):
    """AdamW with 8-bit state that the GPU pages to the host (Dettmers et al. 2023, arXiv:2305.14314).

    State that bitsandbytes loads from a checkpoint, or that Lightning then moves, lies in plain GPU memory. This class
    pages it again before the first step, with the same bits.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_scarce = self._is_away = self._fetches = True
        self._steps = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all weights that have gradients, and fetches the state where it may not be on the GPU.

        Args:
            closure: Computes the loss and the gradients.

        Returns:
            What the closure returned.
        """
        # Pages leave a GPU that has no memory left, and when the host reads them.
        if self._steps % _LOOKS_EVERY == 0:
            self._is_scarce = not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < _SCARCE
        self._steps += 1
        self._fetches = self._is_away or self._is_scarce
        self._is_away = False
        return super().step(closure)

    def prefetch_state(self, p: nn.Parameter) -> None:
        """Fetches the state of a parameter, unless it is there: the driver takes long for a call that fetches nothing.

        Args:
            p: The parameter.
        """
        if self._fetches:
            super().prefetch_state(p)  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain tensors: the marks of paged memory mean nothing in another process."""
        # The host reads paged memory directly and does not wait for what the GPU still has to write there.
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._is_away = True
        state: dict[str, Any] = super().state_dict()  # type: ignore[no-untyped-call]
        for parameter_state in state["state"].values():
            moments = parameter_state.get(self._FSDP_WRAPPED_QUANT_STATE_KEY, {})
            moments.update({key: moments[key].detach() for key in MOMENTS if key in moments})
        return state

    def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
        """Loads a state.

        Args:
            state_dict: What ``state_dict`` returned, here or in another process.
            move_to_device: Whether the tensors go to the device of their parameters.
        """
        super().load_state_dict(state_dict, move_to_device)  # type: ignore[no-untyped-call]
        # The next step then calls `to_gpu`, as the first step of a fresh optimiser does.
        self.initialized = False
        self._is_away = True

    @torch.no_grad()
    def to_gpu(self) -> None:
        """Moves loaded state to the GPU, that of large parameters into paged memory."""
        super().to_gpu()  # type: ignore[no-untyped-call]
        for parameter, state in self.state.items():
            for key in MOMENTS:
                plain = state.get(key)
                if plain is None or getattr(plain, "is_paged", False):
                    continue
                buffer = self.get_state_buffer(parameter, dtype=plain.dtype)  # type: ignore[no-untyped-call]
                if getattr(buffer, "is_paged", False):
                    state[key] = buffer.copy_(plain)
