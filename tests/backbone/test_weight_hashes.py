"""The hash of a backbone's weights is that of their content, and is computed no more often than it changes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from peft_lightning.backbone import weight_hashes
from peft_lightning.backbone.weight_hashes import hashed_meanwhile, sha256_of_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose weights are worth remembering, and were written a while ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weight_hashes, "_WORTH_KEEPING", 4)
    monkeypatch.setattr(weight_hashes, "_SETTLED_NS", -(10**12))
    weight_hashes._sha256_of_content.cache_clear()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read to be hashed, as another process would: nothing is remembered in memory."""
    seen: list[str] = []
    digest = hashlib.file_digest

    def counted(stream, name):  # type: ignore[no-untyped-def]
        seen.append(Path(stream.name).name)
        return digest(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


def anew(folder: Path) -> str | None:
    """What another process would find."""
    weight_hashes._sha256_of_content.cache_clear()
    return sha256_of_weights(folder)


def test_the_next_run_does_not_read_the_weights_again(folder: Path, reads: list[str]) -> None:
    expected = hashlib.sha256(b"weights").hexdigest()
    assert [anew(folder), anew(folder), anew(folder)] == [expected] * 3
    assert reads == ["model.safetensors"]


@pytest.mark.parametrize("dated_back", [False, True])
def test_weights_that_were_written_over_are_hashed_again_whatever_their_date(
    dated_back: bool, folder: Path, reads: list[str]
) -> None:
    file = folder / "model.safetensors"
    before, status = anew(folder), file.stat()
    time.sleep(0.02)
    file.write_bytes(b"WEIGHTS")  # of the same size
    if dated_back:
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert anew(folder) == hashlib.sha256(b"WEIGHTS").hexdigest() != before
    assert len(reads) == 2


def test_a_file_that_was_written_just_now_is_not_remembered(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_hashes, "_SETTLED_NS", 10**12)
    anew(folder)
    anew(folder)
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"{}", b'{"sha256": 5}', b'{"sha256": "abc"}', b"\xff", b"[]"])
def test_a_damaged_memory_is_as_good_as_none(content: bytes, folder: Path, reads: list[str]) -> None:
    first = anew(folder)
    (memory,) = (folder.parent / "cache").rglob("*.json")
    memory.write_bytes(content)
    assert anew(folder) == first
    assert len(reads) == 2
    assert anew(folder) == first
    assert len(reads) == 2  # it was mended


def test_a_cache_that_cannot_be_written_costs_time_alone(folder: Path, reads: list[str]) -> None:
    (folder.parent / "cache").write_text("no folder")
    assert anew(folder) == anew(folder) == hashlib.sha256(b"weights").hexdigest()
    assert len(reads) == 2


@pytest.mark.parametrize("touched", [False, True])
def test_a_hash_that_the_hub_noted_is_taken_until_the_file_changes(
    touched: bool, folder: Path, reads: list[str]
) -> None:
    noted = "d" * 64
    notes = folder / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    downloaded = (folder / "model.safetensors").stat().st_mtime
    (notes / "model.safetensors.metadata").write_text(f"{'c' * 40}\n{noted}\n{downloaded}\n")
    if touched:
        os.utime(folder / "model.safetensors", (downloaded + 60, downloaded + 60))
    assert anew(folder) == (hashlib.sha256(b"weights").hexdigest() if touched else noted)
    assert bool(reads) == touched


@pytest.mark.parametrize("note", ["", "c\nnot a hash\n1e12\n", "c\n" + "d" * 64, "c\n" + "d" * 64 + "\nlately\n"])
def test_a_note_that_says_no_hash_is_passed_over(note: str, folder: Path) -> None:
    notes = folder / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    (notes / "model.safetensors.metadata").write_text(note)
    assert anew(folder) == hashlib.sha256(b"weights").hexdigest()


def test_beside_the_loading_it_is_computed_once(folder: Path, reads: list[str]) -> None:
    weight_hashes._sha256_of_content.cache_clear()
    with hashed_meanwhile(folder):
        pass
    assert sha256_of_weights(folder) == hashlib.sha256(b"weights").hexdigest()
    assert reads == ["model.safetensors"]
    with hashed_meanwhile(folder.parent / "nowhere"):
        pass  # the error is that of who asks for the hash


def test_a_program_that_ends_meanwhile_says_nothing_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python sets it when the main thread has ended, for example with the line that refuses the model.
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    complaints: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    with hashed_meanwhile(folder):
        pass
    assert complaints == []
