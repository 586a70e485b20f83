"""A file of tokenised texts in the format of safetensors: written batch by batch, and mapped into memory if large.

So no process holds the 160 MB that the tokens of a million rows of 30 words take.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from peft_lightning.data.tokenisation import TokenisedTexts, offsets
from peft_lightning.data.word_tokens import TokenBatch

# What the header says is known last, so room is left for it. Its own length is a number of eight bytes before it.
_PREFIX = 8
_HEADER = 512
_TENSORS = ("input_ids", "offsets", "truncated")
# Where the second texts of pairs begin, if the model has token types.
_SECONDS = "seconds"
_READ_AT_ONCE = 1 << 20
# A mapped file must not be cut while it is used, which would end the process. What is this small is read instead.
_READ_WHOLE = 1 << 23


def write_tokens(path: Path, batches: Iterable[TokenBatch]) -> None:
    """Writes tokenised texts; the file appears whole or not at all.

    Args:
        path: The file.
        batches: The texts, in batches.

    Raises:
        OSError: If it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem[:16]}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            _write(file, batches)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_tokens(path: Path) -> TokenisedTexts | None:
    """Reads a file of tokenised texts, or maps a large one into memory; None if there is none, or it is damaged.

    Args:
        path: The file.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size <= _READ_WHOLE:
                content = file.readall()
                header, tensors = content[_PREFIX : _PREFIX + _HEADER], load(content)
                digest = hashlib.sha256(memoryview(content)[_PREFIX + _HEADER :])
            else:
                header, digest = _hashed(file)
                with safe_open(path, framework="pt") as mapped:
                    names = (*_TENSORS, _SECONDS) if _SECONDS in mapped.keys() else _TENSORS  # noqa: SIM118 no mapping
                    tensors = {name: mapped.get_tensor(name) for name in names}
        if json.loads(header)["__metadata__"]["sha256"] != digest.hexdigest():
            return None
        input_ids, starts, truncated = (tensors[name] for name in _TENSORS)
        seconds = {_SECONDS: tensors[_SECONDS]} if _SECONDS in tensors else {}
        return TokenisedTexts(input_ids, starts, truncated, **seconds)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _hashed(file: FileIO) -> tuple[bytes, "hashlib._Hash"]:
    """Reads a file past this process's own memory, 0.6 s a GB; returns its header and the hash of the rest."""
    header = file.read(_PREFIX + _HEADER)[_PREFIX:]
    digest = hashlib.sha256()
    buffer = bytearray(_READ_AT_ONCE)
    while count := file.readinto(buffer):
        digest.update(memoryview(buffer)[:count])
    return header, digest


def _write(file: BinaryIO, batches: Iterable[TokenBatch]) -> None:
    file.write(b" " * (_PREFIX + _HEADER))
    digest = hashlib.sha256()
    end = 0
    entries: dict[str, object] = {}

    def add(content: bytes) -> None:
        nonlocal end
        digest.update(content)
        file.write(content)
        end += len(content)

    lengths: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    truncated: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = [np.empty(0, np.bool_)]
    seconds: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    for batch in batches:
        if batch.seconds is not None:
            seconds.append(batch.seconds)
        add(batch.input_ids.tobytes())
        lengths.append(batch.lengths)
        truncated.append(batch.truncated)
    entries["input_ids"] = {"dtype": "I32", "shape": [end // 4], "data_offsets": [0, end]}
    # Readers want numbers of eight bytes at places that eight divides.
    padding = -end % 8
    if padding:
        add(bytes(padding))
        entries["padding"] = {"dtype": "U8", "shape": [padding], "data_offsets": [end - padding, end]}
    rest: tuple[tuple[str, str, torch.Tensor], ...] = (
        ("offsets", "I64", offsets(lengths)),
        *(((_SECONDS, "I64", torch.from_numpy(np.concatenate(seconds))),) if seconds else ()),
        ("truncated", "BOOL", torch.from_numpy(np.concatenate(truncated))),
    )
    for name, dtype, tensor in rest:
        start = end
        add(tensor.numpy().tobytes())
        entries[name] = {"dtype": dtype, "shape": [len(tensor)], "data_offsets": [start, end]}
    entries["__metadata__"] = {"sha256": digest.hexdigest()}
    header = json.dumps(entries).encode()
    file.seek(0)
    file.write(_HEADER.to_bytes(_PREFIX, "little") + header.ljust(_HEADER))
