"""Updates many small weights at once, where bitsandbytes launches a kernel for each weight and waits for it.

LoRA trains dozens of small matrices: their updates took longer than the forward and the backward pass together.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bitsandbytes.optim.optimizer import Optimizer2State
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from peft_lightning.optim.eight_bit_state import BLOCK, MOMENTS, SCALES, stand_in

# For larger weights a copy would take memory that matters, and a kernel runs for longer than its launch takes.
_MOST = 100_000

Member = tuple[int, nn.Parameter]


@dataclass
class _Together:
    """Weights that are updated together, and their joined state, of which each weight has views."""

    members: list[nn.Parameter]
    state: dict[str, Any]
    views: dict[str, list[Tensor]]

    def holds(self, members: list[nn.Parameter], states: list[dict[str, Any]]) -> bool:
        """Tells whether the weights are the same and still have views of this state: a checkpoint may replace it."""
        return (
            len(self.members) == len(members)
            and all(member is other for member, other in zip(self.members, members, strict=True))
            and all(
                state[key] is view for key in self.views for state, view in zip(states, self.views[key], strict=True)
            )
        )


class BatchedUpdate(Optimizer2State):
    """Updates small weights of one kind with one kernel, to the same bits, and does not make the host wait.

    In checkpoints each weight has a state of its own. Weights in bf16, which are rounded stochastically, draw other
    random numbers than in separate updates.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._together: dict[tuple[int, int], _Together] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all weights that have gradients.

        Args:
            closure: Computes the loss and the gradients.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not self.initialized:
            self.check_overrides()  # type: ignore[no-untyped-call]
            self.to_gpu()  # type: ignore[no-untyped-call]
            self.initialized = True
        earlier, self._together = self._together, {}
        for gindex, group in enumerate(self.param_groups):
            kinds: dict[tuple[Any, ...] | None, list[Member]] = {None: []}
            for pindex, p in self._with_gradients(gindex, group):
                kinds.setdefault(self._kind(p), []).append((pindex, p))
            self.update_alone(group, gindex, kinds.pop(None))
            for members in kinds.values():
                key = gindex, members[0][0]
                self._together[key] = self._update_together(group, gindex, members, earlier.get(key))
        return loss

    def update_alone(self, group: dict[str, Any], gindex: int, members: Sequence[Member]) -> None:
        """Updates weights that are not joined with others.

        Args:
            group: The settings of the weights' group.
            gindex: The number of the group.
            members: The weights, with their gradients and state.
        """
        for pindex, p in members:
            self.prefetch_state(p)  # type: ignore[no-untyped-call]
            self.update_step(group, p, gindex, pindex)  # type: ignore[no-untyped-call]

    def _with_gradients(self, gindex: int, group: dict[str, Any]) -> Iterator[Member]:
        for pindex, p in enumerate(group["params"]):
            if p.grad is None:
                continue
            if not self.state[p]:
                self.init_state(group, p, gindex, pindex)  # type: ignore[no-untyped-call]
            yield pindex, p

    def _kind(self, p: nn.Parameter) -> tuple[Any, ...] | None:
        """Returns the key of the weights that are updated together; None for a weight that is updated alone."""
        state = self.state[p]
        # bitsandbytes lets a user give a weight settings of its own, which the others would not have.
        if p.numel() >= _MOST or self.mng.pid2config or self.mng.index2config:
            return None
        eight_bit = state["state1"].dtype == torch.uint8
        # Joining weights changes no bit only where each consists of whole blocks.
        if eight_bit and p.numel() % BLOCK:
            return None
        return eight_bit, p.dtype, p.device, state["step"]

    def _update_together(
        self, group: dict[str, Any], gindex: int, members: list[Member], together: _Together | None
    ) -> _Together:
        weights = [p for _, p in members]
        states: list[dict[str, Any]] = [self.state[p] for p in weights]
        if together is None or not together.holds(weights, states):
            together = _joined(weights, states)
        together.state["step"] = states[0]["step"]
        values = _flatten_dense_tensors(weights)  # type: ignore[no-untyped-call]
        gradient = _flatten_dense_tensors([p.grad for p in weights])  # type: ignore[no-untyped-call]
        with stand_in(self, values, gradient, together.state) as whole:
            self.update_step(group, whole, gindex, members[0][0])  # type: ignore[no-untyped-call]
        torch._foreach_copy_([*weights], _unflatten_dense_tensors(whole, weights))  # type: ignore[no-untyped-call]
        for state in states:
            state["step"] += 1
        return together


def _joined(weights: list[nn.Parameter], states: list[dict[str, Any]]) -> _Together:
    """Joins the states of weights into one, and gives each weight its views of it."""
    keys = [key for key in (*MOMENTS, *SCALES) if key in states[0]]
    together = _Together(list(weights), dict(states[0]), {})
    for key in keys:
        own = [state[key] for state in states]
        together.state[key] = torch.cat([values.reshape(-1) for values in own])
        parts = together.state[key].split_with_sizes([values.numel() for values in own])
        together.views[key] = [part.view(values.shape) for part, values in zip(parts, own, strict=True)]
        for state, view in zip(states, together.views[key], strict=True):
            state[key] = view
    return together
