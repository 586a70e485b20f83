import errno
import os
from pathlib import Path

import pytest

from peft_lightning.commands.mends import COMPARISON, in_words_of_a_run, mending, run_mend
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.files import CannotWrite, Mend
from peft_lightning.runs.progress import VARIABLE

FULL = CannotWrite(Path("some/last.ckpt"), os.strerror(errno.ENOSPC), no_space=True)
REFUSED = CannotWrite(Path("some/last.ckpt"), os.strerror(errno.EACCES))


@pytest.fixture(params=[False, True], ids=["alone", "compared"])
def compared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a comparison started this process."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if request.param:
        monkeypatch.setenv(VARIABLE, str(tmp_path / "progress.json"))
    return bool(request.param)


def line(error: CannotWrite, mend: Mend) -> str:
    """What the command line shows of an error that its command mends."""
    with pytest.raises(CannotWrite) as raised, mending(mend):
        raise error
    return raised.value.worded(Setting.as_flag)


def test_a_run_that_cannot_write_names_what_its_user_can_do(compared: bool) -> None:
    full, refused = line(FULL, run_mend()), line(REFUSED, run_mend())
    assert full.startswith("no space left to write some/last.ckpt: ")
    assert refused.startswith("cannot write some/last.ckpt (Permission denied): ")
    if compared:
        assert full.endswith(": free some, then go on with --resume")
        assert refused.endswith(": make its folder writable, then go on with --resume, or begin it elsewhere")
    else:
        assert full.endswith("go on with --ckpt_path last or run with another --trainer.default_root_dir")
        assert refused.endswith(": choose another folder with --trainer.default_root_dir")


def test_its_record_says_the_same(compared: bool) -> None:
    for error in (FULL, REFUSED):
        assert in_words_of_a_run(error) == line(error, run_mend())


def test_a_record_has_the_words_of_the_command_line() -> None:
    assert in_words_of_a_run(UserError("too long: ", Setting("data.max_length", 8))) == "too long: --data.max_length 8"
    assert in_words_of_a_run(ValueError("odd")) == "odd"


def test_a_comparison_cannot_be_told_what_only_a_run_takes() -> None:
    for error in (FULL, REFUSED):
        assert "--trainer" not in line(error, COMPARISON)
        assert "--ckpt_path" not in line(error, COMPARISON)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="odd"), mending(COMPARISON):
        raise ValueError("odd")
