from collections.abc import Mapping
from typing import Any

import torch

from peft_lightning.data.text_windows import ROWS_AT_ONCE, WINDOWS
from peft_lightning.module.mean_logits import mean_of_windows


def test_each_text_has_the_mean_of_its_own_windows_in_parts_of_a_bounded_size() -> None:
    parts: list[int] = []

    def logits(rows: Mapping[str, Any]) -> torch.Tensor:
        parts.append(len(rows["input_ids"]))
        assert rows.keys() == {"input_ids", "attention_mask"}
        first: torch.Tensor = rows["input_ids"][:, :2].bfloat16()
        return first

    ids = torch.arange(14).reshape(7, 2)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "index": torch.tensor([8, 5, 1])}
    mean = mean_of_windows(logits, {**batch, WINDOWS: torch.tensor([4, 1, 2]), ROWS_AT_ONCE: 3})
    assert mean.dtype == torch.float32
    assert mean.tolist() == [[3, 4], [8, 9], [11, 12]]
    assert sum(parts) == 7
    assert max(parts) <= 3
