import os
import subprocess
import sys

import pytest
import torch

from peft_lightning.engine.spare_memory import spare_memory

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the allocator of a GPU was asked for; nobody has set a variable."""
    for name in ("CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    asked: list[str] = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", asked.append, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return asked


@pytest.mark.parametrize(("own", "used"), [(None, ":4096:2:16:8"), (":4096:8", ":4096:8")])
def test_workspaces_are_small_unless_somebody_has_said_otherwise(
    own: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if own is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", own)
    spare_memory()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used


def test_blocks_are_cut_to_size(asked: list[str]) -> None:
    spare_memory()
    assert asked == ["expandable_segments:True"]


@pytest.mark.parametrize("name", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_an_allocator_that_somebody_has_set_is_left_alone(
    name: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:64")
    spare_memory()
    assert asked == []


def test_without_a_gpu_there_is_no_allocator_to_ask(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spare_memory()
    assert asked == []


def test_a_torch_with_the_older_name_is_asked_by_that(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_accelerator_setAllocatorSettings")
    monkeypatch.setattr(torch.cuda.memory, "_set_allocator_settings", asked.append, raising=False)
    spare_memory()
    assert asked == ["expandable_segments:True"]


def test_a_torch_that_has_neither_name_only_takes_more(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C, "_accelerator_setAllocatorSettings")
    monkeypatch.delattr(torch.cuda.memory, "_set_allocator_settings", raising=False)
    spare_memory()
    assert asked == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch._C, "_accelerator_getAllocatorSettings"), reason="an older torch tells nothing")
def test_the_allocator_of_this_torch_is_asked_without_a_warning() -> None:
    code = (
        "import torch\n"
        "from peft_lightning.engine.spare_memory import spare_memory\n"
        "torch.cuda.is_available = lambda: True\n"
        "spare_memory()\n"
        "print(torch._C._accelerator_getAllocatorSettings())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "expandable_segments:True" in done.stdout


@CUDA
def test_a_tensor_in_a_larger_block_takes_what_it_needs() -> None:
    code = (
        "import torch\n"
        "from peft_lightning.engine.spare_memory import spare_memory\n"
        "torch.cuda.init(); spare_memory()\n"
        "def take(mib): return torch.empty(int(mib * 2**20), dtype=torch.uint8, device='cuda')\n"
        "first, fence = take(12), take(12)\n"
        "del first\n"
        "second = take(11.5)\n"
        "print(torch.cuda.memory_allocated() / 2**20)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == 23.5
