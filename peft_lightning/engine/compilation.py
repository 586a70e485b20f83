"""torch.compile for the repeated layers of a network: fewer kernels, after some tens of seconds of compiling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# In a fresh process on an H100's host, compiling took 10 s for IA3 and QLoRA, 11 for LoRA and 12 for full fine-tuning;
# on a slower host it took twice as long.
COMPILE_S = 20.0
# roberta-base (12 layers x 768) at 8 x 256 tokens in bf16 on an H100: a captured step of LoRA took 5.13 ms, and 4.73 ms
# with compiled layers; a step of full fine-tuning took 9.71 and 8.02 ms. Compiling saves passes over activations, so
# the saving grows with them.
SAVED_S_PER_ACTIVATION = 0.4e-3 / (12 * 768 * 8 * 256)


class CompileError(RuntimeError):
    """The layers cannot be compiled, for example because the machine has no C compiler."""


class CompiledLayers:
    """Compiles the layers of a network once, for all layers and all shapes, and runs them within ``lent``.

    Outside ``lent`` the layers run uncompiled, so evaluations are not compiled.

    Args:
        network: The network.

    Attributes:
        layers: The layers.
        split_by: What the compiler could not follow within a layer, in its own words; None for nothing. It compiles
            what is before and what is behind.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers = repeated_layers(network)
        self._compiled: list[Callable[..., Any]] = []
        self._used = False
        self.split_by: str | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Runs the network with compiled layers within the context.

        Raises:
            CompileError: The layers cannot be compiled.
        """
        if not self.layers:
            raise CompileError("the network repeats no layer")
        try:
            self._compiled = self._compiled or [self._where_gradients_go_on(layer.forward) for layer in self.layers]
        except RuntimeError as error:  # such as a release of Python that torch does not support yet
            raise CompileError(_in_a_line(error)) from error
        for layer, compiled in zip(self.layers, self._compiled, strict=True):
            layer.forward = compiled
        before = _told()
        try:
            # deterministic: choosing kernels by their measured speed would make the rounding a matter of luck.
            # specialize_float: else a layer's numbers, such as LoRA's scaling, are arguments as lengths are. Each needs
            # a kernel for the CPU, and setting up for those took 50 of 66 s.
            with torch._inductor.config.patch(deterministic=True), torch._dynamo.config.patch(specialize_float=True):
                yield
            if not self._used:
                raise CompileError("no layer hands gradients on")
        # RecursionError: the compiler loses itself in what is done with the class of a packed weight.
        except (torch._dynamo.exc.TorchDynamoException, RecursionError) as error:
            raise CompileError(_in_a_line(error)) from error
        finally:
            resumed, reasons = (now - then for now, then in zip(_told(), before, strict=True))
            if resumed:
                self.split_by = next((reason.partition("\n")[0] for reason in reasons), "it does not say why")
            for layer in self.layers:
                del layer.forward

    def _where_gradients_go_on(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a forward pass that is compiled wherever an input of the layer requires a gradient.

        Where all weights below a layer are frozen, it passes no gradient on and needs a graph of its own: LoRA's first
        layer took as long to compile as all others together. Such a layer runs uncompiled.
        """
        compiled = torch.compile(forward, dynamic=True)

        def run(*args: Any, **kwargs: Any) -> Any:
            goes_on = any(isinstance(value, Tensor) and value.requires_grad for value in (*args, *kwargs.values()))
            self._used = self._used or goes_on
            return (compiled if goes_on else forward)(*args, **kwargs)

        return run


def repeated_layers(network: nn.Module) -> list[nn.Module]:
    """Returns the longest list of layers of one class in a network; an empty list where no layer is repeated."""
    lists = [list(module) for module in network.modules() if isinstance(module, nn.ModuleList)]
    alike = [layers for layers in lists if len(layers) > 1 and len({type(layer) for layer in layers}) == 1]
    return max(alike, key=len, default=[])


def compiling_pays(batches: int, activations: int) -> bool:
    """Estimates whether a job is long enough to earn back the time that compiling its layers takes.

    Args:
        batches: The number of training batches of the job.
        activations: Layers x width x tokens of its widest batch.
    """
    return batches * activations * SAVED_S_PER_ACTIVATION > COMPILE_S


def _told() -> tuple[Counter[str], Counter[str]]:
    """Returns how often the compiler took up a function in its middle, and what it could not follow."""
    counters = torch._dynamo.utils.counters  # imported here, as it takes seconds
    return Counter(counters["resumes"]), Counter(counters["graph_break"]) + Counter(counters["unimplemented"])


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
