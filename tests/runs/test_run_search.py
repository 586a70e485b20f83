"""Which run is the newest of a configuration, and which can go on."""

from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.record import Status
from peft_lightning.runs.run_search import find_newest, find_unfinished
from tests.runs.test_directory import OURS, leave_run

THEIRS = "b" * 64


def test_the_newest_unfinished_run_of_the_configuration_is_found(tmp_path: Path) -> None:
    runs = tmp_path / "lightning_logs/lora"
    leave_run(tmp_path, 2, "interrupted")
    newest = leave_run(tmp_path, 10, "failed")
    leave_run(tmp_path, 11, "interrupted", THEIRS)
    finished = leave_run(tmp_path, 12, "finished")
    (runs / "version_13").mkdir()
    assert find_unfinished(runs, OURS) == newest
    assert find_newest(runs, OURS) == finished
    assert find_newest(runs, "c" * 64) is None


@pytest.mark.parametrize("status", ["running", "interrupted", "failed", "out_of_memory"])
def test_every_status_but_finished_can_go_on(status: Status, tmp_path: Path) -> None:
    run = leave_run(tmp_path, 0, status)
    assert find_unfinished(run.parent, OURS) == run


def test_no_unfinished_run_is_one_line(tmp_path: Path) -> None:
    runs = tmp_path / "lightning_logs/lora"
    with pytest.raises(UserError, match=r"^ckpt_path='last': no unfinished run .*: leave ckpt_path out"):
        find_unfinished(runs, OURS)
    run = leave_run(tmp_path, 0, "finished")
    with pytest.raises(UserError, match=f"{run}.* has finished"):
        find_unfinished(runs, OURS)
