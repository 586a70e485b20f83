from pathlib import Path

import pytest

from peft_lightning.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """The directory of a new run."""
    run = RunDirectory(tmp_path, "lora")
    run.create()
    return run
