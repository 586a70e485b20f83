import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.data import token_cache
from peft_lightning.data.sources import Split, fingerprint
from peft_lightning.data.token_cache import TokenCache
from peft_lightning.errors import UserError

TEXTS = ["the film was good", "a dull plot", "never " * 50]


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_texts_are_tokenised_once(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = TokenCache(tokenizer, str(tmp_path)).tokenise(TEXTS, 12)
    for name in ("tokenise", "token_batches"):
        monkeypatch.setattr(token_cache, name, None)  # calling it would fail
    second = TokenCache(tokenizer, str(tmp_path)).tokenise(TEXTS, 12)
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True))
    assert [path.suffix for path in files(tmp_path)] == [".safetensors"]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_file_is_made_anew(tokenizer: Any, tmp_path: Path, damage: str) -> None:
    expected = TokenCache(tokenizer, str(tmp_path)).tokenise(TEXTS, 12)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    damaged = {
        "empty": b"",
        "cut": whole[:-8],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "foreign": b"not a tensor file at all",
    }[damage]
    path.write_bytes(damaged)
    again = TokenCache(tokenizer, str(tmp_path)).tokenise(TEXTS, 12)
    assert torch.equal(again.input_ids, expected.input_ids)
    assert torch.equal(again.truncated, expected.truncated)
    assert path.read_bytes() == whole
    assert files(tmp_path) == [path]


def test_a_folder_that_was_asked_for_must_be_writable(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot keep tokenised texts in .*file/cache.*with cache_dir"):
        TokenCache(tokenizer, str(tmp_path / "file" / "cache")).tokenise(TEXTS, 12)


def test_without_the_users_cache_folder_it_works_and_says_so(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="choose a folder with data.cache_dir"):
        tokens = TokenCache(tokenizer).tokenise(TEXTS, 12)
    assert len(tokens) == 3


def test_a_full_disk_leaves_no_half_written_file(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        TokenCache(tokenizer, str(tmp_path)).tokenise(TEXTS, 12)
    assert files(tmp_path) == []


def test_the_fingerprint_of_many_rows_is_computed_once(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(texts: list[str], labels: list[Any]) -> Split:
        return Split(texts, np.array(labels), np.arange(len(texts)))

    cache = TokenCache(tokenizer, str(tmp_path))
    base = [split(TEXTS, [0, 1, 0]), split(TEXTS[:1], [1])]
    assert cache.fingerprint(["n", "p"], base) == fingerprint(["n", "p"], base)
    assert files(tmp_path) == [], "of a few rows it is not kept"
    monkeypatch.setattr(token_cache, "_MANY_ROWS", 1)
    others = [base[:1], base[::-1], [split(TEXTS, [0, 0, 0]), base[1]], [split([*TEXTS[:2], "x"], [0, 1, 0]), base[1]]]
    others += [[split(TEXTS, [[0, 1], [1, 1], [0, 0]])]]
    for splits in (base, *others):
        assert cache.fingerprint(["n", "p"], splits) == fingerprint(["n", "p"], splits)
    assert cache.fingerprint(["p", "n"], base) == fingerprint(["p", "n"], base)
    assert len(files(tmp_path)) == 7
    expected = fingerprint(["n", "p"], base)
    for path in files(tmp_path):
        path.write_text("damaged")
    assert cache.fingerprint(["n", "p"], base) == expected
    monkeypatch.setattr(token_cache, "fingerprint", None)  # calling it would fail
    assert cache.fingerprint(["n", "p"], base) == expected


def test_a_fingerprint_that_cannot_be_kept_is_computed(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(token_cache, "_MANY_ROWS", 1)
    splits = [Split(TEXTS, np.zeros(3, np.int64), np.arange(3))]
    cache = TokenCache(tokenizer, str(tmp_path / "file" / "cache"))
    assert cache.fingerprint(["n", "p"], splits) == fingerprint(["n", "p"], splits)


@pytest.mark.slow
def test_two_processes_may_fill_one_folder_at_once(tokenizer: Any, tokenizer_folder: str, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from peft_lightning.data.token_cache import TokenCache\n"
        "from peft_lightning.backbone.loading import load_tokenizer\n"
        f"texts = [f'the film {{i}}' for i in range(3000)]\n"
        f"tokens = TokenCache(load_tokenizer({tokenizer_folder!r}), {str(tmp_path)!r}).tokenise(texts, 12)\n"
        "assert len(tokens) == 3000\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert [path.suffix for path in files(tmp_path)] == [".safetensors"]
