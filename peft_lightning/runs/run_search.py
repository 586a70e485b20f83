"""Finds runs by what their records say: the newest of a configuration, and the newest that has not finished."""

from collections.abc import Iterator
from pathlib import Path

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.directory import versions_in
from peft_lightning.runs.record import RunRecord


def find_unfinished(runs: Path, config_sha256: str) -> Path:
    """Finds the newest run of a configuration that has not finished.

    Args:
        runs: The folder of a method's runs.
        config_sha256: The configuration's hash.

    Returns:
        The run's directory.

    Raises:
        UserError: If there is no such run.
    """
    finished: Path | None = None
    for path, record in _runs_of(runs, config_sha256):
        if record.status != "finished":
            return path
        finished = finished or path
    if finished is not None:
        raise UserError(
            Setting("ckpt_path", "last"),
            f": the newest run of this configuration, {finished}, has finished: nothing to go on with (leave ",
            Setting("ckpt_path"),
            " out to train anew)",
        )
    raise UserError(
        Setting("ckpt_path", "last"),
        f": no unfinished run of this very configuration in {runs}: leave ",
        Setting("ckpt_path"),
        " out to start one",
    )


def newest_unfinished(runs: Path) -> Path | None:
    """Finds the newest run of any configuration that has not finished.

    Args:
        runs: The folder of a method's runs.

    Returns:
        The run's directory; None if there is none.
    """
    return next((path for path, record in _records(runs) if record.status != "finished"), None)


def find_newest(runs: Path, config_sha256: str) -> Path | None:
    """Finds the newest run of a configuration, finished or not.

    Args:
        runs: The folder of a method's runs.
        config_sha256: The configuration's hash.

    Returns:
        The run's directory; None if there is no run.
    """
    return next((path for path, _ in _runs_of(runs, config_sha256)), None)


def _runs_of(runs: Path, config_sha256: str) -> Iterator[tuple[Path, RunRecord]]:
    return ((path, record) for path, record in _records(runs) if record.config_sha256 == config_sha256)


def _records(runs: Path) -> Iterator[tuple[Path, RunRecord]]:
    for _, path in versions_in(runs):
        results = path / "results.json"
        if not results.is_file():
            continue
        try:
            record = RunRecord.read(results)
        except UserError:  # of another version of the program, so not of this configuration
            continue
        yield path, record
