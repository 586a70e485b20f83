import subprocess
import sys

import pytest

from peft_lightning.optim.steps import count_optimizer_steps


@pytest.mark.parametrize(
    ("limit", "accumulate", "max_epochs", "max_steps", "steps"),
    [
        (None, 1, 3, -1, 39),
        (1.0, 1, 3, -1, 39),
        (None, 4, 3, -1, 12),  # an epoch's last step has fewer batches
        (0.5, 1, 3, -1, 18),
        (5, 2, 3, -1, 9),
        (500, 1, 1, -1, 13),
        (None, 1, 3, 20, 20),
        (None, 1, 3, 400, 39),
        (None, 1, -1, 400, 400),
        (None, 1, None, -1, 13),
        (0, 1, 3, -1, 1),
        (None, 1, -1, -1, None),
    ],
)
def test_the_steps_of_thirteen_batches_an_epoch(
    limit: int | float | None, accumulate: int, max_epochs: int | None, max_steps: int, steps: int | None
) -> None:
    assert count_optimizer_steps(13, limit, accumulate, max_epochs, max_steps) == steps


def test_they_are_counted_without_torch() -> None:
    code = "import sys; import peft_lightning.optim.steps; assert not {'torch', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
