from pathlib import Path

import torch

from peft_lightning.callbacks.mean_loss import MeanLoss, examples_of
from tests.callbacks.scripted import trainer


def test_a_mean_is_of_the_undivided_losses_since_the_last_one_and_goes_on_over_a_checkpoint(tmp_path: Path) -> None:
    accumulating = trainer(tmp_path, accumulate_grad_batches=2)
    loss = MeanLoss()
    for value in (1.0, 2.0):
        loss.add(accumulating, {"loss": torch.tensor(value)})
    assert loss.take() == 3.0
    loss.add(accumulating, {"loss": torch.tensor(4.0)})
    resumed = MeanLoss()
    resumed.load_state_dict(loss.state_dict())
    resumed.add(accumulating, {"loss": torch.tensor(2.0, dtype=torch.bfloat16)})
    assert resumed.take() == 6.0


def test_a_mean_is_of_examples_wherever_they_are(tmp_path: Path) -> None:
    loss, alone = MeanLoss(), trainer(tmp_path)
    loss.add(alone, {"loss": torch.tensor(1.0)}, examples=3)
    loss.add(alone, {"loss": torch.tensor(5.0)}, examples=1)
    assert loss.take() == 2.0
    # The outputs of a step that several processes share: its loss is weighted, the batch's is not.
    shared = {"loss": torch.tensor(9.0), "batch_loss": torch.tensor(4.0), "examples": 12}
    assert examples_of(shared, {"labels": [0, 1, 2]}) == 12
    loss.add(alone, shared, examples=12)
    assert loss.take() == 4.0


def test_a_sum_keeps_what_half_precision_would_lose(tmp_path: Path) -> None:
    loss, alone = MeanLoss(), trainer(tmp_path)
    for _ in range(1000):
        loss.add(alone, {"loss": torch.tensor(1.0, dtype=torch.bfloat16)})
    assert loss.take() == 1.0  # in bf16 the sum would stay at 256
