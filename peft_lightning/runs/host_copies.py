"""Copies of tensors in the host's memory, which is used again: the system hands out new memory page by page."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

_Kind = tuple[torch.dtype, torch.Size, tuple[int, ...]]


class HostCopies:
    """Copies what is to be saved into memory that an earlier copy no longer needs, where there is such.

    1.5 GB took an H100's host a second to copy, most of it the system's, which clears every page at its first use.
    """

    def __init__(self) -> None:
        self._spare: defaultdict[_Kind, list[Tensor]] = defaultdict(list)

    def bytes_missing(self, content: Any) -> int:
        """Returns how many more bytes a copy needs than there are.

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
        """Returns a copy of it, its tensors on the host.

        Args:
            content: Any nesting of lists, tuples and dictionaries.
        """
        return apply_to_collection(content, Tensor, self._copied)

    def take_back(self, copied: Any) -> None:
        """Takes back the memory of a copy that nobody reads any more; another thread may copy meanwhile.

        Args:
            copied: What `copy` returned.
        """
        for tensor in _tensors(copied):
            self._spare[_kind(tensor)].append(tensor)

    def forget(self) -> None:
        """Gives the memory back to the system."""
        self._spare.clear()

    def _copied(self, tensor: Tensor) -> Tensor:
        spare = self._spare[_kind(tensor)]
        # Pages that all of torch's threads have touched: the driver copies in one, and took twice as long to do both.
        # What is made under inference mode could not be written to again outside it.
        with torch.inference_mode(False):
            copied = spare.pop() if spare else torch.zeros_like(tensor, device="cpu", requires_grad=False)
            return copied.copy_(tensor.detach())


def _kind(tensor: Tensor) -> _Kind:
    return tensor.dtype, tensor.shape, tensor.stride()


def _tensors(content: Any) -> list[Tensor]:
    found: list[Tensor] = []
    apply_to_collection(content, Tensor, found.append)
    return found
