import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs import directory
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.record import RunRecord, Status
from tests.integration.offline_run import SOURCES

OURS = "a" * 64


def leave_run(root: Path, version: int, status: Status, sha256: str = OURS) -> Path:
    """A directory with a record, as a run leaves it."""
    run = root / "lightning_logs/lora" / f"version_{version}"
    run.mkdir(parents=True)
    RunRecord("0" * 32, "lora", sha256, "lora", 42, 42, status=status).write(run / "results.json")
    return run


def test_every_run_gets_a_version_of_its_own(tmp_path: Path) -> None:
    for version in range(3):
        run = RunDirectory(tmp_path, "lora")
        run.create()
        assert run.path == tmp_path / f"lightning_logs/lora/version_{version}"
        assert run.version == version
        assert run.checkpoints.is_dir()
        run.release()
    other = RunDirectory(tmp_path, "ia3")
    other.create()
    assert other.version == 0
    other.release()


def test_a_number_is_not_given_twice(tmp_path: Path) -> None:
    # A hole in the numbering is a run that was removed: what speaks of it must not mean another one.
    leave_run(tmp_path, 11, "finished")
    (tmp_path / "lightning_logs/lora/version_notes").mkdir()
    run = RunDirectory(tmp_path, "lora")
    run.create()
    assert run.version == 12
    run.release()


def test_runs_that_start_at_once_get_different_versions(tmp_path: Path) -> None:
    def create(_: int) -> int:
        run = RunDirectory(tmp_path, "lora")
        run.create()
        run.release()
        return run.version

    with ThreadPoolExecutor(8) as threads:
        versions = list(threads.map(create, range(32)))
    assert sorted(versions) == list(range(32))


def test_processes_that_start_at_once_get_different_versions(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from peft_lightning.runs.directory import RunDirectory\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for _ in range(20):\n"
        "    run = RunDirectory(pathlib.Path(sys.argv[1]), 'lora'); run.create(); print(run.version)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(words, cwd=SOURCES, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    versions = [int(word) for child in children for word in child.communicate(timeout=300)[0].split()]
    assert sorted(versions) == list(range(40))


def test_a_directory_is_held_until_it_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOCK_PATIENCE_S", 0.05)
    first, second = RunDirectory(tmp_path, "lora"), RunDirectory(tmp_path, "lora")
    first.create()
    with pytest.raises(UserError, match="still running"):
        second.open(first.path)
    first.release()
    second.open(first.path)
    second.release()


def test_nothing_is_on_disk_before_it_is_asked_for(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "lora")
    with pytest.raises(RuntimeError):
        _ = run.path
    assert list(tmp_path.iterdir()) == []
