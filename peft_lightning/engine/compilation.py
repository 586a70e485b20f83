"""The repeated layers of a network under torch.compile: fewer kernels, and some tens of seconds to make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Compiling took 10 s for IA3 and QLoRA, 11 for LoRA and 12 for full fine-tuning in processes of their own on an H100's
# host; on a slower one twice as long.
COMPILE_S = 20.0
# roberta-base (12 layers x 768) at 8 x 256 tokens in bf16 on an H100: a captured step of LoRA took 5.13 ms and,
# compiled too, 4.73; of full fine-tuning 9.71 and 8.02. What is saved are passes over activations: it grows with them.
SAVED_S_PER_ACTIVATION = 0.4e-3 / (12 * 768 * 8 * 256)


class CompileError(RuntimeError):
    """Layers that cannot be compiled, such as on a machine without a C compiler."""


class CompiledLayers:
    """Compiles a network's layers once for all of them and for all shapes, and lends them to whoever runs a step.

    Outside `lent` the layers are as they were: evaluations are not compiled.

    Args:
        network: what is trained.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = repeated_layers(network)
        self._compiled: list[Callable[..., Any]] = []
        self._used = False

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Runs what is inside with compiled layers.

        Raises:
            CompileError: they cannot be compiled.
        """
        if not self.layers:
            raise CompileError("the network repeats no layer")
        try:
            self._compiled = self._compiled or [self._where_gradients_go_on(layer.forward) for layer in self.layers]
        except RuntimeError as error:  # such as a Python that it does not know yet
            raise CompileError(_in_a_line(error)) from error
        for layer, compiled in zip(self.layers, self._compiled, strict=True):
            layer.forward = compiled
        try:
            # Measuring which kernel is faster would make the rounding a matter of luck. Numbers of a layer, such as
            # LoRA's scaling, would be arguments as lengths are: each a kernel for the CPU, which to set up for took
            # 50 of 66 s.
            with torch._inductor.config.patch(deterministic=True), torch._dynamo.config.patch(specialize_float=True):
                yield
            if not self._used:
                raise CompileError("no layer hands gradients on")
        except torch._dynamo.exc.TorchDynamoException as error:
            raise CompileError(_in_a_line(error)) from error
        finally:
            for layer in self.layers:
                del layer.forward

    def _where_gradients_go_on(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles a layer, but where all below it is frozen.

        Such a layer hands no gradient on: another graph, and LoRA's first layer took as long to compile as all others.
        """
        compiled = torch.compile(forward, dynamic=True)

        def run(*given: Any, **named: Any) -> Any:
            goes_on = any(isinstance(value, Tensor) and value.requires_grad for value in (*given, *named.values()))
            self._used = self._used or goes_on
            return (compiled if goes_on else forward)(*given, **named)

        return run


def repeated_layers(network: nn.Module) -> list[nn.Module]:
    """Returns the longest list of like layers in a network; none where no layer is repeated.

    Args:
        network: an encoder, adapted or not.
    """
    lists = [list(module) for module in network.modules() if isinstance(module, nn.ModuleList)]
    alike = [layers for layers in lists if len(layers) > 1 and len({type(layer) for layer in layers}) == 1]
    return max(alike, key=len, default=[])


def compiling_pays(batches: int, activations: int) -> bool:
    """Estimates whether a job is long enough to earn back what compiling its layers takes.

    Args:
        batches: training batches of the job.
        activations: layers x width x tokens of its widest batch.
    """
    return batches * activations * SAVED_S_PER_ACTIVATION > COMPILE_S


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
