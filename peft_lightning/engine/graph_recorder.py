"""Records what a step does on a GPU, as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CaptureError(RuntimeError):
    """A step that cannot be captured, such as one that asks the GPU what it computed."""


class GraphRecorder:
    """Records what a step does on the GPU, without doing it; all graphs of a recorder share their memory."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Records a step.

        Args:
            step: what is recorded.

        Returns:
            What does it.

        Raises:
            CaptureError: it cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        generator = torch.cuda.default_generators[stream.device_index]
        unrecorded = generator.clone_state()
        try:
            # Threads that load batches may use the GPU meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # A capture that could not be ended goes back neither to the stream nor to the generator's own state.
            torch.cuda.set_stream(stream)
            generator.graphsafe_set_state(unrecorded)
            if isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise
            raise CaptureError(_first_line(error)) from error
        self._pool = graph.pool()
        return graph.replay


def _first_line(error: BaseException) -> str:
    """What went wrong first: that the capture could not be ended is only what came of it."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().split("\n")[0][:200]
