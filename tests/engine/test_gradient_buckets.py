import pytest
import torch
from torch import Tensor

import peft_lightning.engine.gradient_buckets as subject
from peft_lightning.engine.gradient_buckets import SharedGradients, buckets_of, gradients_in_buckets


class Finished:
    """A sum over processes that is done."""

    def wait(self) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is sent to another process, which has the same gradients."""
    buckets: list[Tensor] = []

    def all_reduce(flat: Tensor, async_op: bool) -> Finished:
        buckets.append(flat.clone())
        flat.mul_(2)
        return Finished()

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(subject, "gathered", lambda here: [here, here])
    return buckets


def parameters() -> list[Tensor]:
    shapes = [(3, 5), (2,), (70,), ()]
    wide: list[Tensor] = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    return [*wide, torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))]


def test_a_bucket_has_one_type_and_a_limit() -> None:
    values = [torch.zeros(size) for size in (100, 50, 60, 999)]
    values.insert(1, torch.zeros(100, dtype=torch.bfloat16))
    buckets = buckets_of(values, most_bytes=600)
    assert [[tensor.numel() for tensor in bucket] for bucket in buckets] == [[100, 50], [100], [60], [999]]
    assert [bucket[0].dtype for bucket in buckets].count(torch.bfloat16) == 1


@pytest.mark.parametrize("where", ["in buckets", "anywhere", "one elsewhere"])
def test_the_mean_is_left_wherever_the_gradients_lie(where: str, sent: list[Tensor]) -> None:
    values = parameters()
    fixed = gradients_in_buckets(buckets_of(values))
    for number, value in enumerate(values):
        gradient = torch.full_like(value, number + 1.0)
        if where == "in buckets" or (where == "one elsewhere" and number != 1):
            fixed[value].copy_(gradient)
            gradient = fixed[value]
        value.grad = gradient
    before = [value.grad for value in values]
    SharedGradients(values).average()
    for number, (value, held) in enumerate(zip(values, before, strict=True)):
        assert held is not None
        assert value.grad is held
        assert torch.equal(held, torch.full_like(value, number + 1.0))
    # In all three the other process is sent the same, the last layers' first.
    assert [(flat.dtype, flat.numel()) for flat in sent] == [(torch.bfloat16, 64), (torch.float32, 64 + 64 + 128 + 64)]
    assert sent[1][:15].tolist() == [0.5] * 15
    assert sent[1][128:198].tolist() == [1.5] * 70


def test_gradients_that_lie_in_buckets_are_not_copied(sent: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    values = parameters()
    for value, gradient in gradients_in_buckets(buckets_of(values)).items():
        value.grad = gradient
    shared = SharedGradients(values)
    monkeypatch.setattr(torch, "_foreach_copy_", None)
    shared.average()
    assert len(sent) == 2


def test_a_gradient_that_only_another_process_has_becomes_one_here(
    sent: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = parameters()[:3]
    values[0].grad = torch.ones_like(values[0])
    monkeypatch.setattr(subject, "gathered", lambda here: [here, (False, True, False)])
    SharedGradients(values).average()
    assert values[1].grad is not None
    assert values[1].grad.tolist() == [0.0, 0.0]
    assert values[2].grad is None
