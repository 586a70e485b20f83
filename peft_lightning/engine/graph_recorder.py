"""Records the kernels of a step as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class CaptureError(RuntimeError):
    """The step cannot be captured, for example because it reads a result back from the GPU."""


class GraphRecorder:
    """Records the kernels of a step without running them; all graphs of a recorder share their memory."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Records a step.

        Args:
            step: Launches the kernels to record.

        Returns:
            A function that replays the step.

        Raises:
            CaptureError: The step cannot be recorded.
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
            # A capture that failed to end restores neither the stream nor the generator's state.
            torch.cuda.set_stream(stream)
            generator.graphsafe_set_state(unrecorded)
            if isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise
            raise CaptureError(_first_line(error)) from error
        self._pool = graph.pool()
        return graph.replay


def _first_line(error: BaseException) -> str:
    """Returns the first line of the first error in a chain: the failure to end the capture only follows from it."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().split("\n")[0][:200]
