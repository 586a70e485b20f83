from typing import Any

import pytest
import torch
from torch import Tensor

from peft_lightning.runs.host_copies import HostCopies


def content(value: float = 1.0, width: int = 3) -> dict[str, Any]:
    weight = torch.full((2, width), value)
    return {
        "step": 7,
        "weights": [weight, weight.T],
        "state": {0: {"counts": torch.tensor(3), "weight": weight.double()}},
    }


def addresses(copied: dict[str, Any]) -> set[int]:
    counts = copied["state"][0]["counts"]
    return {tensor.data_ptr() for tensor in (*copied["weights"], counts, copied["state"][0]["weight"])}


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, list):
        for value, again in zip(one, other, strict=True):
            assert_same(value, again)
    else:
        assert one == other


def test_a_copy_is_the_same_and_its_memory_another() -> None:
    copies, saved = HostCopies(), content()
    copied = copies.copy(saved)
    assert_same(copied, content())
    for weight in saved["weights"]:
        weight.zero_()
    assert_same(copied, content())


def test_memory_is_used_again_once_it_was_taken_back() -> None:
    copies = HostCopies()
    first = copies.copy(content(1.0))
    second = copies.copy(content(2.0))
    assert addresses(first).isdisjoint(addresses(second))
    used = addresses(first)
    copies.take_back(first)
    third = copies.copy(content(3.0))
    assert addresses(third) == used
    assert_same(second, content(2.0))
    assert_same(third, content(3.0))


@pytest.mark.parametrize("width", [3, 5])
def test_what_is_missing_is_what_has_another_shape(width: int) -> None:
    copies = HostCopies()
    size = 2 * (2 * width * 4) + 8 + 2 * width * 8
    assert copies.bytes_missing(content(1.0, width)) == size
    copies.take_back(copies.copy(content()))
    assert copies.bytes_missing(content(1.0, width)) == (0 if width == 3 else size - 8)
    assert_same(copies.copy(content(1.0, width)), content(1.0, width))
    copies.take_back(copies.copy(content()))
    copies.forget()
    assert copies.bytes_missing(content(1.0, width)) == size


def test_a_weight_in_training_is_copied_as_a_value() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    copied = HostCopies().copy({"weight": weight})["weight"]
    assert not copied.requires_grad
    assert torch.equal(copied, torch.ones(2))


def test_memory_of_a_copy_made_under_inference_mode_is_used_again_outside() -> None:
    copies = HostCopies()
    with torch.inference_mode():
        first = copies.copy(content(1.0))
    used = addresses(first)
    copies.take_back(first)
    again = copies.copy(content(2.0))
    assert addresses(again) == used
    assert_same(again, content(2.0))
