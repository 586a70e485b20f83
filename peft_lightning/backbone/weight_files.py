"""The files that hold a backbone's weights, and the hash that tells one backbone from another."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_IN_ORDER_OF_PREFERENCE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that ``from_pretrained`` reads weights from.

    Args:
        folder: A folder laid out as transformers saves a model.

    Returns:
        One file, or all shards in the order of their names; empty where there are no weights.
    """
    for name in _IN_ORDER_OF_PREFERENCE:
        file = folder / name
        if not file.is_file():
            continue
        if not name.endswith(".index.json"):
            return [file]
        shards = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / shard for shard in sorted(shards)]
    return []


def sha256_of_weights(folder: Path) -> str | None:
    """Returns the SHA-256 of a backbone's weights.

    Args:
        folder: A folder laid out as transformers saves a model.

    Returns:
        The hash of the weight file; for several files the hash of lines ``name hash``; None without weight files.
    """
    files = weight_files(folder)
    if len(files) == 1:
        return _sha256(files[0])
    if not files:
        return None
    lines = "".join(f"{file.name} {_sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(file: Path) -> str:
    target = file.resolve()
    # The hub's cache names a large file by its own SHA-256, so half a gigabyte need not be read again.
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name
    status = target.stat()
    return _sha256_of_content(target, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_content(file: Path, size: int, modified_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
