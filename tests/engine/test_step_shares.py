"""One undivided batch of a step's examples says what the step has to be, however it is divided."""

from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import peft_lightning.data.batch_loaders
import peft_lightning.engine.step_engine
from peft_lightning.data.batch_sampler import LengthGroupedBatchSampler, Positions
from peft_lightning.engine import lightning_engine
from peft_lightning.engine.step_shares import share_of_step
from tests.engine.captured_runs import curve, trained, uncaptured
from tests.engine.scarce import ScarceMemory

# 7 batches of 4 and one of 2 in an epoch, so 2 steps of 3 batches and one of 2.
DIVIDED = ("--data.n_train", "30", "--data.batch_size", "4", "--trainer.accumulate_grad_batches", "3")
# The update is the gradient itself, up to AdamW's epsilon: a gradient of a third would show.
MORE = ("--model.schedule", "constant", "--model.warmup_ratio", "0", "--trainer.gradient_clip_val", "0")


@pytest.fixture
def undivided(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The run whose steps have the same examples in one batch each."""

    class Joined(LengthGroupedBatchSampler):
        """The batches of a divided run, three together."""

        def _cuts(self, epoch: int) -> tuple[Positions, Positions, Positions]:
            parts = LengthGroupedBatchSampler(self._lengths.tolist(), 4, self.seed).order(epoch)
            steps = [list(chain(*parts[begin : begin + 3])) for begin in range(0, len(parts), 3)]
            bounds = np.cumsum([0, *map(len, steps)])
            return np.array(list(chain(*steps))), bounds[:-1], bounds[1:]

        def __len__(self) -> int:
            return 3

    with monkeypatch.context() as scene:
        scene.setattr(peft_lightning.data.batch_loaders, "LengthGroupedBatchSampler", Joined)
        return trained([*words, *DIVIDED, *MORE], tmp_path / "undivided", "--trainer.accumulate_grad_batches", "1")


def assert_same_training(folder: Path, divided: dict[str, Any], undivided: dict[str, Any]) -> None:
    assert divided["global_step"] == undivided["global_step"] == 12
    for name, weight in undivided["state_dict"].items():
        assert torch.allclose(weight, divided["state_dict"][name], atol=2e-5), name
    for name in ("train/gradient_norm", "train/learning_rate"):
        assert curve(folder, name) == pytest.approx(curve(folder.with_name("undivided"), name), rel=1e-3), name


def test_a_divided_step_is_the_step_of_one_batch(undivided: Any, words: list[str], tmp_path: Path) -> None:
    divided, _ = trained([*words, *DIVIDED, *MORE], tmp_path / "divided", "--engine", "eager")
    assert_same_training(tmp_path / "divided", divided, undivided[0])


@pytest.mark.slow
def test_a_divided_step_is_captured_so_too(undivided: Any, graphs: list[str], words: list[str], tmp_path: Path) -> None:
    divided, run = trained([*words, *DIVIDED, *MORE], tmp_path / "divided", *graphs)
    assert (run["engine"]["name"], run["notes"]) == ("graph", [])
    if "--trainer.accelerator" in graphs:
        # The undivided run was on the CPU: beside it only the same run uncaptured is as near.
        expected, _ = trained([*words, *DIVIDED, *MORE], tmp_path / "eager", *uncaptured(graphs))
        for name, weight in expected["state_dict"].items():
            assert torch.allclose(weight, divided["state_dict"][name], atol=2e-5), name
        assert curve(tmp_path / "divided", "train/gradient_norm") == pytest.approx(
            curve(tmp_path / "undivided", "train/gradient_norm"), rel=1e-2
        )
        return
    assert_same_training(tmp_path / "divided", divided, undivided[0])


@pytest.mark.slow
def test_and_in_micro_batches_after_gradients_were_lost(
    undivided: Any, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the second epoch's last step, of a batch of 4 and one of 2 or of two of 4, the room gets short.
    ScarceMemory(monkeypatch, fits=3, from_step=4, in_backward=True)
    divided, run = trained([*words, *DIVIDED, *MORE], tmp_path / "divided", "--engine", "eager")
    assert run["engine"]["micro_batch_size"] == 2
    assert_same_training(tmp_path / "divided", divided, undivided[0])


@pytest.mark.slow
def test_a_strategy_without_an_engine_of_ours_weighs_alike(undivided: Any, words: list[str], tmp_path: Path) -> None:
    divided, _ = trained([*words, *DIVIDED, *MORE], tmp_path / "divided", "--trainer.strategy", "single_device")
    assert_same_training(tmp_path / "divided", divided, undivided[0])


@pytest.mark.slow
def test_where_all_batches_are_alike_nothing_is_multiplied(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it was before there were shares: these runs keep their bits.
    even = ("--data.n_train", "32", "--data.batch_size", "4", "--trainer.accumulate_grad_batches", "2")
    shared, _ = trained([*words, *even], tmp_path / "shared")

    def never(self: Any, trainer: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss

    for engine in (peft_lightning.engine.step_engine.StepEngine, lightning_engine.LightningEngine):
        monkeypatch.setattr(engine, "weighed", never)
    plain, _ = trained([*words, *even], tmp_path / "plain")
    for name, weight in plain["state_dict"].items():
        assert torch.equal(weight, shared["state_dict"][name]), name


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_examples_of_a_step_weigh_alike_on_all_processes(accumulate: int, processes: int) -> None:
    lengths = np.random.default_rng(0).integers(8, 65, 53).tolist()
    samplers = [LengthGroupedBatchSampler(lengths, 4, 1, rank, processes) for rank in range(processes)]
    batches = len(samplers[0].order(0))
    weights: dict[int, list[float]] = {}
    for rank, sampler in enumerate(samplers):
        for number, rows in enumerate(sampler.order(0)):
            trainer: Any = SimpleNamespace(
                accumulate_grad_batches=accumulate,
                world_size=processes,
                global_rank=rank,
                num_training_batches=batches,
                fit_loop=SimpleNamespace(batch_idx=number),
                datamodule=SimpleNamespace(batch_sizes=lambda: samplers[0].sizes(0)),
            )
            # A process without a row of a batch gets one that does not count.
            counted = sampler.sizes(0)[rank][number]
            assert counted in (0, len(rows))
            assert share_of_step(trainer) == share_of_step(trainer, counted)
            # The mean over the batch, divided by Lightning, and the mean over processes of DDP.
            weights.setdefault(number // accumulate, []).extend(
                [share_of_step(trainer) / len(rows) / accumulate / processes] * counted
            )
    for of_step in weights.values():
        assert of_step == pytest.approx([1 / len(of_step)] * len(of_step))


def test_batches_of_unknown_size_count_alike() -> None:
    trainer: Any = SimpleNamespace(
        accumulate_grad_batches=3,
        world_size=1,
        num_training_batches=7,
        fit_loop=SimpleNamespace(batch_idx=0),
        datamodule=None,
    )
    assert share_of_step(trainer) == 1
    trainer.fit_loop.batch_idx = 6
    assert share_of_step(trainer) == 3
