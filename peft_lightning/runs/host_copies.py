"""Copies of tensors in the host's memory, which later copies use again: new memory is slow at its first use."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

_Kind = tuple[torch.dtype, torch.Size, tuple[int, ...]]


class HostCopies:
    """Copies tensors to the host, into the memory of an earlier copy if one has been returned.

    Copying 1.5 GB took an H100's host a second, most of it in the operating system, which clears every page at its
    first use.
    """

    def __init__(self) -> None:
        self._spare: defaultdict[_Kind, list[Tensor]] = defaultdict(list)

    def bytes_missing(self, content: Any) -> int:
        """Returns how many bytes a copy needs beyond the spare memory.

        Args:
            content: Any nesting of lists, tuples and dictionaries.
        """
        tensors = _tensors(content)
        spare = {kind: len(tensors) for kind, tensors in list(self._spare.items())}
        missing = 0
        for tensor in tensors:
            kind = _kind(tensor)
            if spare.get(kind, 0):
                spare[kind] -= 1
            else:
                missing += tensor.nbytes
        return missing

    def copy(self, content: Any) -> Any:
        """Returns a copy of the content, with its tensors on the host.

        Args:
            content: Any nesting of lists, tuples and dictionaries.
        """
        return apply_to_collection(content, Tensor, self._copied)

    def take_back(self, copied: Any) -> None:
        """Takes back the memory of a copy that is no longer read; another thread may copy meanwhile.

        Args:
            copied: What ``copy`` returned.
        """
        for tensor in _tensors(copied):
            self._spare[_kind(tensor)].append(tensor)

    def forget(self) -> None:
        """Returns the spare memory to the system."""
        self._spare.clear()

    def _copied(self, tensor: Tensor) -> Tensor:
        spare = self._spare[_kind(tensor)]
        # A tensor made in inference mode could not be written to again outside it.
        with torch.inference_mode(False):
            copied = spare.pop() if spare else host_memory_like(tensor)
            return copied.copy_(tensor.detach())


def host_memory_like(tensor: Tensor) -> Tensor:
    """Returns a new tensor of zeros on the host for a copy of another one.

    Writing the zeros touches the pages with all of torch's threads. The driver copies in one thread, and took twice as
    long if it touched them too; 80 s for the weights and moments of 7 billion parameters on an H200's host.

    Args:
        tensor: The tensor that is to be copied, on any device.
    """
    return torch.zeros_like(tensor, device="cpu", requires_grad=False)


def _kind(tensor: Tensor) -> _Kind:
    return tensor.dtype, tensor.shape, tensor.stride()


def _tensors(content: Any) -> list[Tensor]:
    found: list[Tensor] = []
    apply_to_collection(content, Tensor, found.append)
    return found
