from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from peft_lightning import startup
from peft_lightning.startup import importing


def modules_after(code: str) -> set[str]:
    """What a fresh process has imported."""
    show = "import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_what_no_run_uses_is_not_imported() -> None:
    code = (
        "from peft_lightning.startup import torchmetrics_without_extras\n"
        "from peft_lightning.startup import import_bitsandbytes_without_compiler as second\n"
        "with torchmetrics_without_extras(): import peft_lightning.commands.fit\n"
        "second(); import peft"
    )
    imported = modules_after(code)
    assert {"torchmetrics", "lightning.pytorch", "bitsandbytes", "peft"} <= imported
    assert not {"matplotlib", "scipy.signal", "torch._inductor.compile_fx"} & imported


@pytest.mark.slow
def test_torchvision_is_not_imported_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").touch()
    (tmp_path / "torchvision-0.99.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99\n"
    (tmp_path / "torchvision-0.99.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    code = (
        "from peft_lightning.startup import torchmetrics_without_extras\n"
        "with torchmetrics_without_extras(): import torchmetrics"
    )
    imported = modules_after(code)
    assert "torchmetrics" in imported
    assert "torchvision" not in imported


@pytest.mark.slow
def test_what_has_been_left_out_is_still_there_for_others() -> None:
    code = (
        "from peft_lightning.startup import torchmetrics_without_extras\n"
        "with torchmetrics_without_extras(): import torchmetrics\n"
        "from lightning_utilities.core.imports import RequirementCache, package_available\n"
        "assert RequirementCache('scipy') and package_available('scipy')\n"
        "import scipy.signal, matplotlib.pyplot"
    )
    assert {"scipy.signal", "matplotlib.pyplot"} <= modules_after(code)


def test_a_function_is_compiled_once_and_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[dict[str, object]] = []

    def compiling(function: object, **settings: object) -> object:
        compiled.append(settings)
        return function

    monkeypatch.setattr(torch, "compile", compiling)
    call = startup._compiled_when_called(lambda a, b: a - b, dynamic=False)
    assert compiled == []
    assert (call(5, 3), call(2, b=1)) == (2, 1)
    assert compiled == [{"dynamic": False}]
    assert startup._compiled_when_called(mode="default")(lambda: 3)() == 3
    assert compiled[1:] == [{"mode": "default"}]


def test_garbage_is_looked_for_again_after_importing() -> None:
    frozen = gc.get_freeze_count()
    try:
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() == frozen
        with importing(for_good=True):
            pass
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_imports_are_kept_from_touching_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)
    asking = torch.cuda.get_device_capability
    with startup.without_cuda_context():
        assert torch.cuda.get_device_capability(torch.device("cuda", 0)) == (0, 0)
        assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
    assert torch.cuda.get_device_capability is asking
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ
    assert not startup.has_touched_gpu()
    for name in ("is_initialized", "_is_in_bad_fork"):
        with monkeypatch.context() as scene:
            scene.setattr(torch.cuda, name, lambda: True)
            assert startup.has_touched_gpu()


@pytest.mark.parametrize(("visible", "expected"), [(None, 2), ("0", 2), ("", 0)])
def test_imports_count_gpus_by_their_device_files(
    visible: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    counting = torch.cuda._device_count_nvml
    with startup.without_cuda_context(tmp_path):
        assert torch.cuda._device_count_nvml() == expected
    assert torch.cuda._device_count_nvml is counting
    with startup.without_cuda_context(tmp_path / "none"):
        assert torch.cuda._device_count_nvml is counting
