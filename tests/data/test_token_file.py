from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peft_lightning.data import token_file
from peft_lightning.data.token_file import read_tokens, write_tokens
from peft_lightning.data.tokenisation import TokenisedTexts, tokenise
from peft_lightning.data.word_tokens import TokenBatch

TEXTS = [f"the film number {n} was good " + "and slow " * (n % 9) for n in range(50)]


def batches(tokens: TokenisedTexts, size: int) -> list[TokenBatch]:
    ends = tokens.offsets.numpy()
    return [
        TokenBatch(
            tokens.input_ids.numpy()[ends[start] : ends[min(start + size, len(tokens))]],
            tokens.lengths.numpy()[start : start + size],
            tokens.truncated.numpy()[start : start + size],
        )
        for start in range(0, len(tokens), size)
    ]


@pytest.mark.parametrize("read_whole", [0, 1 << 25])
@pytest.mark.parametrize("size", [1, 7, 50])
def test_what_is_written_in_batches_is_read_as_a_whole(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, read_whole: int
) -> None:
    monkeypatch.setattr(token_file, "_READ_WHOLE", read_whole)
    tokens = tokenise(TEXTS, tokenizer, 12)
    write_tokens(tmp_path / "a.safetensors", batches(tokens, size))
    read = read_tokens(tmp_path / "a.safetensors")
    assert read is not None
    for name, tensor in vars(tokens).items():
        assert torch.equal(getattr(read, name), tensor)
        assert getattr(read, name).dtype == tensor.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_file_of_no_texts(tmp_path: Path) -> None:
    write_tokens(tmp_path / "a.safetensors", [])
    read = read_tokens(tmp_path / "a.safetensors")
    assert read is not None
    assert (len(read), read.offsets.tolist(), read.input_ids.tolist()) == (0, [0], [])


@pytest.mark.parametrize("read_whole", [0, 1 << 25])
def test_any_damaged_byte_is_found(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_whole: int
) -> None:
    monkeypatch.setattr(token_file, "_READ_WHOLE", read_whole)
    path = tmp_path / "a.safetensors"
    write_tokens(path, batches(tokenise(TEXTS, tokenizer, 12), 9))
    whole = path.read_bytes()
    header = whole.index(b"}}") + 2
    for place in (0, 8, header // 2, 520, 521, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_tokens(path) is None, place
    for cut in (b"", whole[:100], whole[:-1], whole[:600], whole + b"\0"):
        path.write_bytes(cut)
        assert read_tokens(path) is None
    assert read_tokens(tmp_path / "missing.safetensors") is None


def test_a_large_file_is_mapped_and_not_read_into_memory(tmp_path: Path) -> None:
    count = 16 * 2**20
    ids = np.arange(count, dtype=np.int32)
    path = tmp_path / "a.safetensors"
    write_tokens(path, [TokenBatch(ids, np.array([count]), np.array([False]))])

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 2**20

    before = resident_mib()
    read = read_tokens(path)
    assert read is not None
    assert resident_mib() - before < 24, "of 64 MiB"
    assert read.input_ids[-3:].tolist() == [count - 3, count - 2, count - 1]
