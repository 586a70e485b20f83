from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from side_by_side.lightning_clock import RecordedClock


@pytest.mark.parametrize("saves", [True, False])
def test_a_run_of_which_only_steps_are_measured_saves_nothing(saves: bool, tmp_path: Path) -> None:
    clock = RecordedClock(1, 3, 10.0, str(tmp_path / "figures.json"), saves)
    trainer = Trainer(
        accelerator="cpu", max_steps=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path, callbacks=[clock], limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(BoringModel())
    assert bool(list(tmp_path.glob("**/*.ckpt"))) == saves
