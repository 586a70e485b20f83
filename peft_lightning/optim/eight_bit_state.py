"""The state that bitsandbytes' 8-bit AdamW keeps of a weight, and updates of values that are no weight of the model.

Imported only where it is used: it needs bitsandbytes, which takes a second to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bitsandbytes.optim.optimizer import Optimizer2State
from torch import Tensor, nn

MOMENTS = ("state1", "state2")
SCALES = ("absmax1", "absmax2")
# Each block of 8-bit moments has a scale.
BLOCK = 256


@contextmanager
def stand_in(
    optimizer: Optimizer2State, values: Tensor, gradient: Tensor, state: dict[str, Any]
) -> Iterator[nn.Parameter]:
    """Lends an optimiser a temporary weight for one update.

    Args:
        optimizer: The optimiser.
        values: The weight's values, which the update overwrites.
        gradient: The gradient of the values.
        state: The optimiser's state of the values, which the update overwrites.

    Yields:
        The temporary weight.
    """
    weight = nn.Parameter(values)
    weight.grad = gradient
    optimizer.state[weight] = state
    try:
        yield weight
    finally:
        del optimizer.state[weight]
