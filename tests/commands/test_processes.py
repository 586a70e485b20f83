"""What a launcher's processes agree on; tests/integration/test_launched_processes.py has real ones."""

from types import SimpleNamespace
from typing import cast

import pytest
from lightning.pytorch import Trainer

from peft_lightning.commands.processes import refuse_other_data
from peft_lightning.errors import UserError


def test_a_machine_with_other_files_does_not_train_on_its_share_of_them() -> None:
    environment = SimpleNamespace(world_size=lambda: 2)
    strategy = SimpleNamespace(setup_environment=lambda: None, broadcast=lambda said: "a" * 64)
    second = SimpleNamespace(
        strategy=strategy,
        global_rank=1,
        _accelerator_connector=SimpleNamespace(cluster_environment=environment),
    )
    trainer = cast(Trainer, second)
    refuse_other_data(trainer, "a" * 64)
    with pytest.raises(UserError, match="process 1 of the run has read other texts or labels than the first one"):
        refuse_other_data(trainer, "b" * 64)
