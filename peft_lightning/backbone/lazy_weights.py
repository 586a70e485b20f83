"""Weights that are read from their files one tensor at a time, when a model takes them.

transformers maps all files of a model into memory and holds them to the end: 15 GB of pages for a model of 7 billion
weights, which the kernel counts as the process's own. Reading leaves nothing behind but the tensor.
"""

from __future__ import annotations

import ctypes
import json
import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import EllipsisType

# https://github.com/huggingface/safetensors#format, the types that models are stored in.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


# Between two trims the heap keeps some five copies of what was quantised; a trim takes a few milliseconds, and holds up
# the other threads that read: after every tensor of 7 billion weights two threads read 2.0 GiB/s, without 3.5.
_TRIM_AFTER = 16 * 2**20
# From here on glibc gives memory back by itself (mallopt(3), DEFAULT_MMAP_THRESHOLD_MAX on 64 bits).
_GIVEN_BACK = 32 * 2**20


class LazyTensor:
    """A tensor in a safetensors file, which is read each time that it is asked for.

    It has what transformers asks of a slice of such a file.

    Args:
        file: The file.
        offset: Where the tensor begins, in bytes.
        shape: Its shape.
        dtype: Its type.
        mapped: Whether what is read is the file's own pages, for whoever copies it to a GPU at once: no memory is
            filled in between, and the pages are let go of with the tensor. A tensor that stays would change with its
            file.
    """

    def __init__(self, file: Path, offset: int, shape: list[int], dtype: torch.dtype, mapped: bool = False) -> None:
        self._file = file
        self._offset = offset
        self.shape = torch.Size(shape)
        self.dtype = dtype
        self._mapped = mapped

    def get_shape(self) -> list[int]:
        """Returns the shape, as safetensors' own slices do."""
        return list(self.shape)

    _read_since_trim = 0

    def __getitem__(self, index: EllipsisType | slice | int | tuple[Any, ...]) -> Tensor:
        """Reads the tensor and returns a part of it, all of it for ``[...]``; on the CPU."""
        count = math.prod(self.shape)
        size = count * self.dtype.itemsize
        if count == 0:
            return torch.empty(self.shape, dtype=self.dtype)[index]
        content = self._map(size) if self._mapped else self._read(size)
        return content.view(self.dtype).view(self.shape)[index]

    def _map(self, size: int) -> Tensor:
        start = self._offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        before = self._offset - start
        with self._file.open("rb") as stream:
            # Read and copied on in pieces, 2.9 GiB/s of weights of 7 billion's shapes on a core; through memory of the
            # process 0.8. Copied on write, for torch takes no memory that it may not write to.
            pages = mmap.mmap(stream.fileno(), before + size, access=mmap.ACCESS_COPY, offset=start)
        return torch.frombuffer(pages, dtype=torch.uint8, count=size, offset=before)

    def _read(self, size: int) -> Tensor:
        LazyTensor._read_since_trim += size if size < _GIVEN_BACK else 0
        if LazyTensor._read_since_trim >= _TRIM_AFTER:
            LazyTensor._read_since_trim = 0
            _return_free_memory()
        content = torch.empty(size, dtype=torch.uint8)
        with self._file.open("rb", buffering=0) as stream:
            stream.seek(self._offset)
            # A read returns at most 2 GiB.
            rest = memoryview(cast("Any", content.numpy()))
            while rest:
                got = stream.readinto(rest)
                if not got:
                    raise OSError(f"{self._file.name} ends within a tensor")
                rest = rest[got:]
        return content


def lazy_weights(files: list[Path], mapped: bool = False) -> dict[str, LazyTensor] | None:
    """Lists the tensors of a model's files without reading any.

    Args:
        files: What ``weight_files`` returned.
        mapped: Whether each tensor is copied to a GPU as soon as it is read.

    Returns:
        The tensors by name; None where a file is not in safetensors' format, or holds a type that is not known here.
    """
    tensors: dict[str, LazyTensor] = {}
    for file in files:
        if file.suffix != ".safetensors":
            return None
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length < file.stat().st_size:
                return None
            header = json.loads(stream.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _DTYPES:
                return None
            offset = 8 + length + entry["data_offsets"][0]
            tensors[name] = LazyTensor(file, offset, entry["shape"], _DTYPES[entry["dtype"]], mapped)
    return tensors


def _return_free_memory() -> None:
    """Gives the kernel back what was read and freed: glibc keeps smaller pieces, between those in use.

    Quantising 282 MiB on the CPU left 266 MiB more in the process otherwise, for a model of 45.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # only glibc has it
        trim(0)
