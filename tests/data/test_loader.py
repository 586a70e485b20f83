import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler
from peft_lightning.data.loader import ResumableDataLoader
from peft_lightning.errors import UserError
from tests.samples import mostly_slow

N_EXAMPLES, BATCH_SIZE, EPOCHS = 14, 4, 3
STEPS = 4  # an epoch, the last batch holds two
LENGTHS = [3 + (7 * i) % 11 for i in range(N_EXAMPLES)]

Seen = dict[int, list[int]]


class Killed(Exception):
    pass


class Recorder(LightningModule):
    """Writes down which examples each global step was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: Seen = {}

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        assert self.global_step not in self.seen
        self.seen[self.global_step] = batch.tolist()
        return (self.weight * batch.float()).sum()

    def validation_step(self, batch: torch.Tensor) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SavedAndKilled(Callback):
    """Writes a checkpoint in one hook, where ModelCheckpoint does, and ends the run there."""

    def __init__(self, path: Path, step: int, hook: str) -> None:
        super().__init__()
        self.path = path
        self.step = step
        setattr(self, hook, self._save_and_die)

    def _save_and_die(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)
            raise Killed


def loader(num_workers: int = 0, seed: int = 7) -> ResumableDataLoader:
    sampler = LengthGroupedBatchSampler(LENGTHS, BATCH_SIZE, seed)
    return ResumableDataLoader(torch.arange(N_EXAMPLES), sampler, num_workers=num_workers)  # type: ignore[arg-type]


def fit(
    callbacks: list[Callback], num_workers: int = 0, ckpt_path: Path | None = None, seed: int = 7, **options: Any
) -> Seen:
    module = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        callbacks=callbacks,
        **{"max_epochs": EPOCHS, **options},
    )
    train = loader(num_workers, seed)
    validation: DataLoader[Any] = DataLoader(torch.arange(2))  # type: ignore[arg-type]
    try:
        trainer.fit(module, train, validation, ckpt_path=ckpt_path, weights_only=True)
    except Killed:
        pass
    finally:
        if train._iterator is not None:
            train._iterator._shutdown_workers()  # type: ignore[attr-defined]
    return module.seen


def interrupted_and_resumed(path: Path, step: int, hook: str, num_workers: int, **options: Any) -> Seen:
    before = fit([SavedAndKilled(path, step, hook)], num_workers, **options)
    assert max(before) == trainer_step(path) - 1
    after = fit([], num_workers, path, **options)
    assert not set(before) & set(after)
    return before | after


def trainer_step(path: Path) -> int:
    step: int = torch.load(path, weights_only=True)["global_step"]
    return step


HOOKS = ["on_train_batch_end", "on_validation_end", "on_train_epoch_end"]


# What the loop may look like, and the steps at which a checkpoint is written in each hook.
LOOPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "validating twice an epoch": {"val_check_interval": 2},
    "not validating": {"limit_val_batches": 0},
    "epochs cut short": {"limit_train_batches": 3},
    "until a step": {"max_steps": EPOCHS * STEPS, "max_epochs": -1},
}


@pytest.mark.parametrize("name", mostly_slow(LOOPS, fast=("plain", "epochs cut short", "validating twice an epoch")))
def test_resumes_after_any_step_with_the_batches_of_an_uninterrupted_run(tmp_path: Path, name: str) -> None:
    options = LOOPS[name]
    expected = fit([], **options)
    for step in range(1, len(expected)):
        path = tmp_path / f"{step}.ckpt"
        assert interrupted_and_resumed(path, step, "on_train_batch_end", 0, **options) == expected, step


@pytest.mark.parametrize(
    ("loop", "hook"),
    [
        ("plain", "on_validation_end"),
        ("plain", "on_train_epoch_end"),
        ("validating twice an epoch", "on_validation_end"),
        ("validating twice an epoch", "on_train_epoch_end"),
        ("not validating", "on_train_epoch_end"),
        ("epochs cut short", "on_validation_end"),
        ("epochs cut short", "on_train_epoch_end"),
        ("until a step", "on_validation_end"),
    ],
)
def test_resumes_at_an_epochs_end(tmp_path: Path, loop: str, hook: str) -> None:
    options = LOOPS[loop]
    expected = fit([], **options)
    for step in (2, 4, 6):
        path = tmp_path / f"{step}.ckpt"
        assert interrupted_and_resumed(path, step, hook, 0, **options) == expected, step


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS)
def test_batches_that_workers_fetched_ahead_do_not_count(tmp_path: Path, hook: str) -> None:
    expected = fit([])
    steps = [1, 3, 4, 6] if hook == "on_train_batch_end" else [4, 8]
    for step in steps:
        assert interrupted_and_resumed(tmp_path / f"{step}.ckpt", step, hook, 2) == expected, step


def test_a_resumed_run_keeps_the_order_of_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "at.ckpt"
    before = fit([SavedAndKilled(path, 2, "on_train_batch_end")], seed=7)
    assert before | fit([], ckpt_path=path, seed=99) == fit([], seed=7)


def test_a_checkpoint_written_before_the_first_batch_of_a_resumed_run_is_the_same_place(tmp_path: Path) -> None:
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    before = fit([SavedAndKilled(first, 5, "on_train_batch_end")])
    fit([SavedAndKilled(second, 5, "on_train_start")], ckpt_path=first)
    assert before | fit([], ckpt_path=second) == fit([])


def test_outside_lightning_a_loop_resumes_too() -> None:
    reference, stopped, resumed = loader(), loader(seed=7), loader(seed=8)
    reference.set_epoch(1)
    stopped.set_epoch(1)
    expected = [batch.tolist() for batch in reference]
    batches = iter(stopped)
    seen = [next(batches).tolist() for _ in range(3)]
    resumed.load_state_dict(stopped.state_dict())
    assert seen + [batch.tolist() for batch in resumed] == expected


def test_a_state_with_all_batches_received_goes_on_with_the_next_epoch() -> None:
    ended, resumed, reference = loader(), loader(), loader()
    list(ended)
    resumed.load_state_dict(ended.state_dict())
    # What is saved again at the end of that epoch is what was saved before.
    assert resumed.state_dict() == ended.state_dict()
    reference.set_epoch(1)
    assert [batch.tolist() for batch in resumed] == [batch.tolist() for batch in reference]


def test_the_length_is_that_of_the_whole_epoch_wherever_it_stands() -> None:
    train = loader()
    train.load_state_dict({"seed": 7, "epoch": 0, "batches": 3, "batches_per_epoch": STEPS})
    assert len(train) == STEPS
    assert len(list(train)) == 1
    assert len(train) == STEPS


@pytest.mark.parametrize("num_workers", [0, 1])
def test_no_global_generator_is_touched(num_workers: int) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert len(list(loader(num_workers))) == STEPS
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # type: ignore[index]


def test_the_checkpoint_of_other_data_is_refused() -> None:
    with pytest.raises(UserError, match="written with 9 batches an epoch and this configuration has 4"):
        loader().load_state_dict({"seed": 7, "epoch": 0, "batches": 3, "batches_per_epoch": 9})
