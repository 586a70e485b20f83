"""The loss of a step and its gradients as one CUDA graph: launching so many small kernels takes longer than they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

# Compiling, choosing kernels and filling caches must be over before a graph is captured.
WARM_UPS = 3


class CapturedLoss:
    """Captures a loss and its backward pass at the first call, and replays them from then on.

    Optimiser and gradient clipping stay outside: they are few kernels, and their learning rate changes. Nothing
    random may happen in the loss but dropout, whose generator the graph advances by itself.

    Args:
        loss: of tensors that keep their shapes; returns what to go backward from, then whatever is to be seen.
        parameters: what gets gradients.
    """

    def __init__(self, loss: Callable[..., tuple[Tensor, ...]], parameters: Iterable[Tensor]) -> None:
        self._loss = loss
        self._parameters = tuple(parameters)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Leaves the gradients in the parameters' `grad`, which stay the same tensors from step to step.

        Args:
            inputs: what the loss is taken of, on the GPU.

        Returns:
            copies of what the loss returned, detached.
        """
        graph = self._graph or self._capture(inputs)
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new)
        graph.replay()
        return tuple(output.detach().clone() for output in self._outputs)

    def _capture(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        self._inputs = tuple(part.clone() for part in inputs)
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._backward()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._backward()
        return self._graph

    def _backward(self) -> tuple[Tensor, ...]:
        # Half-precision copies of the weights that autocast keeps from the warm-up would be replayed for ever.
        kind = torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", kind, enabled=torch.is_autocast_enabled("cuda"), cache_enabled=False):
            outputs = self._loss(*self._inputs)
        for parameter in self._parameters:
            parameter.grad = None
        outputs[0].backward()  # type: ignore[no-untyped-call]
        return outputs
