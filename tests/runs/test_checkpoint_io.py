import os
from pathlib import Path

import pytest
import torch

from peft_lightning.errors import UserError
from peft_lightning.runs.checkpoint_io import AtomicCheckpointIO, read_checkpoint

CONTENT = {"peft_lightning": {"schema": 1}, "state_dict": {"w": torch.arange(4.0)}}


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints/last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    read = AtomicCheckpointIO().load_checkpoint(path)
    assert read["peft_lightning"] == {"schema": 1}
    assert torch.equal(read["state_dict"]["w"], torch.arange(4.0))
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_what_cannot_be_saved_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({**CONTENT, "callback": lambda: None}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_every_way_of_being_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(CONTENT, path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"last\.ckpt"):
            read_checkpoint(path)
    # A run goes on from its last checkpoint only; any other can be tested in the place of a broken one.
    AtomicCheckpointIO().save_checkpoint(CONTENT, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"train anew, without ckpt_path, or test with ckpt_path='.*best\.ckpt'$"):
        read_checkpoint(path)
    (tmp_path / "best.ckpt").replace(path)
    (tmp_path / "best.ckpt").write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"best\.ckpt is no checkpoint, or is cut short: use .*last\.ckpt instead$"):
        read_checkpoint(tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"nowhere\.ckpt"):
        read_checkpoint(tmp_path / "nowhere.ckpt")
