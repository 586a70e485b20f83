"""The hash that tells one backbone from another: the SHA-256 of its weights, computed no more often than they change.

A name, sizes and dates would cost nothing, and would take another model of the same shape for this one. So the content
counts, whose hash is often known: the hub's cache names files by it, ``hf download --local-dir`` notes it beside them,
and what was hashed before is remembered until the file changes.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Thread

from peft_lightning.backbone.weight_files import weight_files
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite, write_atomically
from peft_lightning.runs.given_paths import cache_folder

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Smaller files are hashed in a twentieth of a second.
_WORTH_KEEPING = 64 * 2**20
# A file that was written so shortly before it is hashed could be written again without another date.
_SETTLED_NS = 2 * 10**9
# hashlib reads without Python's lock. A core hashes some 1.5 GB a second, and few disks give more than four times that.
_AT_ONCE = 4


def sha256_of_weights(folder: Path) -> str | None:
    """Returns the SHA-256 of a backbone's weights.

    Args:
        folder: A folder laid out as transformers saves a model.

    Returns:
        The hash of the weight file; for several files the hash of lines ``name hash``; None without weight files.
    """
    files = weight_files(folder)
    if not files:
        return None
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        hashes = list(pool.map(_sha256, files))
    if len(files) == 1:
        return hashes[0]
    lines = "".join(f"{file.name} {digest}\n" for file, digest in zip(files, hashes, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


@contextmanager
def hashed_meanwhile(folder: Path) -> Iterator[None]:
    """Hashes a backbone's weights beside what is done in the context, usually their loading, which reads them too.

    Args:
        folder: The backbone's folder. ``sha256_of_weights`` knows its hash once the context has ended well.
    """
    thread = Thread(target=_hash_ahead, args=(folder,), name="hash of the weights", daemon=True)
    thread.start()
    yield
    thread.join()


def _hash_ahead(folder: Path) -> None:
    # Whoever asks for the hash gets the error. RuntimeError: the program is ending, since the model was refused, and
    # Python starts no more threads.
    with suppress(OSError, UserError, RuntimeError):
        sha256_of_weights(folder)


def _sha256(file: Path) -> str:
    target = file.resolve()
    # The hub's cache names a large file by its own SHA-256, so half a gigabyte need not be read again.
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name
    return _noted_by_the_hub(file) or _sha256_of_content(target, _state(target))


def _noted_by_the_hub(file: Path) -> str | None:
    """Returns the hash that was noted when a file was downloaded to its folder, unless it has changed since."""
    note = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    try:
        _, etag, downloaded_s, *_ = note.read_text().splitlines()
        # huggingface_hub itself leaves a second between the file's date and the note's.
        unchanged = file.stat().st_mtime <= float(downloaded_s) + 1
    except (OSError, ValueError):
        return None
    return etag if unchanged and _SHA256.fullmatch(etag) else None


def _state(file: Path) -> tuple[int, ...]:
    """Returns what changes with a file's content; its own date cannot be set back, the one of its content can."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=256)
def _sha256_of_content(file: Path, state: tuple[int, ...]) -> str:
    _, _, size, _, changed_ns = state
    memory = _memory_of(file, state) if size >= _WORTH_KEEPING else None
    if memory is not None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            digest = str(json.loads(memory.read_text())["sha256"])
            if _SHA256.fullmatch(digest):
                return digest
    begun_ns = time.time_ns()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if memory is not None and changed_ns + _SETTLED_NS < begun_ns and _state(file) == state:
        with suppress(OSError, CannotWrite):  # a cache that cannot be written costs the next run the same time
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(memory, json.dumps({"sha256": digest, "file": str(file)}).encode())
    return digest


def _memory_of(file: Path, state: tuple[int, ...]) -> Path:
    """Returns the file that remembers the hash of a file in one state."""
    key = hashlib.sha256(json.dumps([str(file), *state]).encode("utf-8", "surrogatepass")).hexdigest()
    return cache_folder() / "weights" / f"{key}.json"
