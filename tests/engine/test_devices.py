import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from peft_lightning.engine.devices import devices_of


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
    ("gpus", "accelerator", "devices", "found"),
    [
        (0, "auto", 1, ["cpu"]),
        (0, "auto", "auto", ["cpu"]),
        (0, "cpu", "1", ["cpu"]),
        (0, "cpu", 2, ["cpu", "cpu"]),
        (0, "gpu", 1, []),
        (1, "auto", "auto", ["cuda:0"]),
        (1, "cpu", 1, ["cpu"]),
        (2, "auto", 1, ["cuda:0"]),
        (2, "gpu", [1], ["cuda:1"]),
        (2, "cuda", "1,", ["cuda:1"]),
        (2, "auto", "auto", ["cuda:0", "cuda:1"]),
        (2, "auto", 2, ["cuda:0", "cuda:1"]),
        (2, "auto", -1, ["cuda:0", "cuda:1"]),
        (2, "auto", [7], []),
        (2, "tpu", 1, []),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_the_devices_that_the_settings_come_to(
    accelerator: str, devices: list[int] | int | str, found: list[str]
) -> None:
    assert devices_of(accelerator, devices) == [torch.device(name) for name in found]
