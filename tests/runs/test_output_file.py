import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.files import Mend
from peft_lightning.runs.output_file import OutputFile


def refusal(path: str | Path, *inputs: Path) -> str:
    """The line with which an output is refused before anything is computed; nothing is changed by it."""
    with pytest.raises(UserError) as refused:
        OutputFile(path, "output").check(inputs)
    return refused.value.worded(Setting.as_flag)


def written(path: str | Path) -> None:
    output = OutputFile(path, "output")
    output.check()
    output.write(b"new\n")


@pytest.mark.parametrize("how", ["itself", "relative", "symlink", "hard link"])
def test_an_input_is_never_an_output(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts, output = tmp_path / "texts.txt", tmp_path / "out"
    texts.write_text("a joy\n")
    if how == "symlink":
        output.symlink_to(texts)
    if how == "hard link":
        output.hardlink_to(texts)
    named = {"itself": texts, "relative": Path("../") / tmp_path.name / "texts.txt"}.get(how, output)
    line = refusal(named, tmp_path / "not there", texts)
    assert line.startswith(f"--output: {named} is ")
    assert line.endswith("name another file")
    assert texts.read_text() == "a joy\n"


def test_what_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "leads nowhere").symlink_to("no/such/folder/out")
    before = sorted(tmp_path.iterdir())
    for path, word in (
        (tmp_path, "is a folder: name a file in it"),
        (tmp_path / "no/such/folder/out", f"there is no folder {tmp_path}/no/such/folder"),
        (tmp_path / "leads nowhere", f"there is no folder {tmp_path}/no/such/folder"),
        (tmp_path / "file/out", "Not a directory"),
        (f"{tmp_path}/new/", "names a folder"),
        (tmp_path / "socket", "is a socket"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / ("n" * 250), "File name too long"),
        ("", "names no file"),
    ):
        line = refusal(path)
        assert word in line
        assert "--output" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_the_user_may_not_write_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old\n")
    (tmp_path / "kept").chmod(0o444)
    assert "may not be written" in refusal(tmp_path / "kept")
    tmp_path.chmod(0o555)
    assert "Permission denied" in refusal(tmp_path / "new")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_device_is_found_beforehand() -> None:
    assert refusal("/dev/full").startswith("no space left to write /dev/full: free some, or name another file")


def test_a_plain_file_is_replaced_and_a_new_one_made(tmp_path: Path) -> None:
    for name in ("old", "new"):
        path = tmp_path / name
        if name == "old":
            path.write_text("something longer\n")
        written(path)
        assert path.read_text() == "new\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(there: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_text("old\n")
    link.symlink_to("target")
    written(link)
    assert os.readlink(link) == "target"
    assert target.read_text() == "new\n"


def test_a_pipe_stays_a_pipe_and_gets_the_output(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    written(pipe)
    reader.join(timeout=20)
    assert read == [b"new\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ('echo old > out; $0 -c "$1" /dev/stdout >> out; cat out', "old\nnew\n"),
        ('$0 -c "$1" /dev/fd/3 3> out; cat out', "new\n"),
        ('$0 -c "$1" >(cat > out); sleep 0.3; cat out', "new\n"),
        ('ln -s /dev/stdout link; $0 -c "$1" link', "new\n"),
    ],
)
def test_an_open_file_is_written_to_where_it_stands(shell: str, expected: str, tmp_path: Path) -> None:
    program = (
        "import sys; from peft_lightning.runs.output_file import OutputFile\n"
        "output = OutputFile(sys.argv[1], 'output'); output.check(); output.write(b'new\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = ["bash", "-c", shell, sys.executable, program]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file onto another")
def test_a_mounted_file_is_written_in_its_place(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.touch()
    outside.write_text("old\n")
    if subprocess.run(["mount", "--bind", outside, inside], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file")
    try:
        written(inside)
    finally:
        subprocess.run(["umount", inside], check=True)
    assert outside.read_text() == "new\n"


def test_a_file_that_the_program_names_has_the_mend_of_its_command(tmp_path: Path) -> None:
    mend = Mend(("free some",), ("write the report again",))
    with pytest.raises(UserError, match=r"cannot write .* \(Is a directory\): write the report again"):
        OutputFile(tmp_path, mend=mend).check()
