from collections.abc import Callable
from typing import Any

import pytest
import torch

from peft_lightning.data.batch_shapes import widest_batch
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.data.examples import PadToLongest
from tests.data.bag import Bag, small_trainer

Make = Callable[..., TextDataModule]
Shapes = list[tuple[int, ...]]


@pytest.mark.parametrize(
    ("limits", "batches"),
    [({"max_epochs": 2}, 10), ({"max_steps": 3}, 3), ({"max_steps": 2, "accumulate_grad_batches": 2}, 4)],
)
def test_the_shapes_to_come_are_known_in_every_epoch(make: Make, limits: dict[str, Any], batches: int) -> None:
    foreseen: list[Shapes] = []
    came: list[Shapes] = []

    class Watched(Bag):
        def on_train_batch_start(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
            shapes = [tuple(shape["input_ids"].shape) for shape in data.coming_shapes()]
            if batch_idx == 0:
                came.append([])
                foreseen.append(shapes)
            if batch_idx % limits.get("accumulate_grad_batches", 1) == 0:
                assert shapes == foreseen[-1]
            came[-1].append(tuple(batch["input_ids"].shape))

    data = make(n_train=38, batch_size=4, pad_to_multiple_of=4)
    torch.manual_seed(5)
    small_trainer(**limits).fit(Watched(), data)
    assert len(foreseen) == limits.get("max_epochs", 1)
    for expected, shapes in zip(foreseen, came, strict=True):
        assert len(shapes) == batches
        assert len(set(shapes)) > 1
        assert expected == sorted(set(shapes), key=lambda shape: (shape[0] * shape[1], shape[1]), reverse=True)


def test_the_widest_batch_is_of_the_longest_reviews(make: Make) -> None:
    data = make(n_train=38, batch_size=4)
    data.setup("fit")
    batch = widest_batch(data.train, 4, PadToLongest(0))
    assert batch["attention_mask"].sum(dim=1).tolist() == sorted(data.train.lengths, reverse=True)[:4]
