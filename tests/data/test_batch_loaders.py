"""What the loaders yield: which rows, in which order, from one process or several."""

from collections.abc import Callable
from itertools import chain

import torch
from torch.utils.data import SequentialSampler

from peft_lightning.data.datamodule import TextDataModule
from tests.data.test_datamodule import indices

Make = Callable[..., TextDataModule]


def test_the_order_depends_on_the_seed_not_on_how_much_chance_was_used(make: Make) -> None:
    data = make()
    data.setup("fit")
    torch.manual_seed(5)
    expected = indices(data.train_dataloader())
    torch.manual_seed(5)
    torch.rand(100)
    assert indices(data.train_dataloader()) == expected


def test_no_global_generator_is_touched(make: Make) -> None:
    before = torch.get_rng_state()
    data = make()
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_give_the_same_batches(make: Make) -> None:
    alone, shared = make(), make(num_workers=2)
    for data in (alone, shared):
        data.setup("fit")
    assert indices(shared.train_dataloader()) == indices(alone.train_dataloader())
    assert indices(shared.val_dataloader()) == indices(alone.val_dataloader())


def test_evaluation_covers_every_row_longest_first(make: Make) -> None:
    data = make(eval_batch_size=7)
    data.setup("validate")
    widths = [batch["input_ids"].shape[1] for batch in data.test_dataloader()]
    assert widths == sorted(widths, reverse=True)
    assert sorted(chain(*indices(data.test_dataloader()))) == list(range(40))
    assert sorted(chain(*indices(data.val_dataloader()))) == data.val.index.tolist()


def test_no_sampler_invites_lightning_to_replace_it(make: Make) -> None:
    """With overfit_batches Lightning rebuilds loaders whose sampler is not sequential, which would lose the order."""
    data = make()
    data.setup("fit")
    assert isinstance(data.train_dataloader().sampler, SequentialSampler)
