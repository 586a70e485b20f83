from dataclasses import replace
from typing import Any

import pytest

from peft_lightning.compare.stages.run_batches import Workload, workload
from peft_lightning.runs.record import DatasetFigures

DATASET = DatasetFigures("embedded", "f", n_train=100, n_val=40, n_test=65, max_length=64, truncated_share=0.0)
DATA = {"batch_size": 8, "eval_batch_size": 32}


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"max_epochs": 3}, Workload(train=39, steps=39, validation=6, test=3)),
        ({"max_epochs": 2, "accumulate_grad_batches": 4}, Workload(train=26, steps=8, validation=4, test=3)),
        ({"max_epochs": 3, "max_steps": 13}, Workload(train=13, steps=13, validation=2, test=3)),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, Workload(train=12, steps=12, validation=4, test=3)),
        (
            {"max_epochs": 2, "limit_train_batches": 6, "limit_val_batches": 1, "limit_test_batches": 0},
            Workload(train=12, steps=12, validation=2, test=0),
        ),
        ({"max_epochs": 1, "limit_train_batches": 400}, Workload(train=13, steps=13, validation=2, test=3)),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, Workload(train=52, steps=52, validation=4, test=3)),
        ({"max_epochs": 1, "val_check_interval": 0.5}, Workload(train=13, steps=13, validation=4, test=3)),
        ({"max_epochs": 1, "devices": 2}, Workload(train=7, steps=7, validation=1, test=2)),
        ({"max_epochs": 1, "devices": "auto"}, Workload(train=13, steps=13, validation=2, test=3)),
        ({}, Workload(train=13_000, steps=13_000, validation=2_000, test=3)),
        # Where steps alone are limited, Lightning does not limit the epochs.
        ({"max_steps": 19_500}, Workload(train=19_500, steps=19_500, validation=3_000, test=3)),
    ],
)
def test_batches_are_counted_as_lightning_runs_them(trainer: dict[str, Any], expected: Workload) -> None:
    assert workload(trainer, DATA, DATASET) == expected


def test_windows_are_shared_out_among_all_batches_of_evaluation_whatever_is_left_out() -> None:
    long_texts = replace(DATASET, windows=500)
    for trainer in ({"max_epochs": 1}, {"max_epochs": 1, "limit_val_batches": 1, "limit_test_batches": 0}):
        assert workload(trainer, DATA, long_texts).windows == 500 / (2 + 3)
    assert workload({"max_epochs": 1, "devices": 2}, DATA, long_texts).windows == 500 / 2 / (1 + 2)
