"""A run of BOFT has the factors that it was asked for."""

from __future__ import annotations

import pytest
import torch

from peft_lightning.errors import Setting, UserError
from peft_lightning.methods import PEFT
from tests.methods.test_contract import GetBackbone


def built(factors: int, tiny_backbone: GetBackbone) -> set[int]:
    """How many factors the layers have."""
    config = {"peft_type": "BOFT", "boft_block_size": 4, "boft_n_butterfly_factor": factors}
    method = PEFT({**config, "target_modules": ["query", "value"]})
    model = method.adapt(method.load_backbone(tiny_backbone(), num_labels=2))
    return {len(weight) for name, weight in model.named_parameters() if "boft_R" in name}


def test_one_factor_is_built_anywhere(tiny_backbone: GetBackbone) -> None:
    assert built(1, tiny_backbone) == {1}


@pytest.mark.skipif(torch.cuda.is_available(), reason="PEFT's extension may be built beside a GPU")
def test_more_factors_than_peft_builds_here_are_refused_and_not_left_out(tiny_backbone: GetBackbone) -> None:
    with pytest.raises(UserError, match=r"^2 butterfly factors need PEFT's CUDA extension") as refused:
        built(2, tiny_backbone)
    assert refused.value.worded(Setting.as_flag).endswith("use --model.method.config.boft_n_butterfly_factor 1")
