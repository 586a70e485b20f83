import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from peft_lightning.engine.single_device import single_device


@pytest.fixture
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with so many GPUs of NVIDIA, and none of Apple."""
    count = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for place in ("lightning.fabric.accelerators.cuda", "lightning.fabric.utilities.device_parser"):
        monkeypatch.setattr(f"{place}.num_cuda_devices", lambda: count, raising=False)
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: count > 0))
    monkeypatch.setattr(CUDAAccelerator, "auto_device_count", staticmethod(lambda: count))
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: False))


@pytest.mark.parametrize(
    ("gpus", "accelerator", "devices", "device"),
    [
        (0, "auto", 1, "cpu"),
        (0, "auto", "auto", "cpu"),
        (0, "cpu", "1", "cpu"),
        (0, "cpu", 2, None),
        (0, "gpu", 1, None),
        (1, "auto", "auto", "cuda:0"),
        (1, "cpu", 1, "cpu"),
        (2, "auto", 1, "cuda:0"),
        (2, "gpu", [1], "cuda:1"),
        (2, "cuda", "1,", "cuda:1"),
        (2, "auto", "auto", None),
        (2, "auto", 2, None),
        (2, "auto", -1, None),
        (2, "auto", [7], None),
        (2, "tpu", 1, None),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_the_one_device_that_the_settings_come_to(
    accelerator: str, devices: list[int] | int | str, device: str | None
) -> None:
    found = single_device(accelerator, devices)
    assert found == (torch.device(device) if device is not None else None)
    assert single_device(accelerator, devices, num_nodes=2) is None
