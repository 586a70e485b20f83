import weakref

import pytest
import torch

from peft_lightning.engine.borrowed_memory import borrowed
from tests.engine.captured_runs import CUDA


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_what_is_borrowed_is_the_same_memory(device: str) -> None:
    whole = torch.arange(24.0, device=device).to(torch.bfloat16).view(4, 6)
    for lender in (whole, whole[1:].t()):
        loan = borrowed(lender)
        assert torch.equal(loan, lender)
        assert (loan.dtype, loan.stride(), loan.data_ptr()) == (lender.dtype, lender.stride(), lender.data_ptr())
        lender.add_(1)
        assert torch.equal(loan, lender)


def test_what_is_borrowed_keeps_no_memory() -> None:
    lender = torch.ones(1000)
    alive = weakref.ref(lender.untyped_storage())
    loan = borrowed(lender)
    del lender
    assert alive() is None
    assert loan.shape == (1000,)


@CUDA
def test_memory_of_what_is_lent_is_given_to_others() -> None:
    before = torch.cuda.memory_allocated()
    lender = torch.ones(2**20, device="cuda")
    loan = borrowed(lender)
    del lender
    assert torch.cuda.memory_allocated() == before
    assert loan.numel() == 2**20
