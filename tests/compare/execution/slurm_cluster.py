"""A real SLURM of one node on loopback, for the tests that want one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.offline_run import SOURCES

SCRIPT = SOURCES / ".ci" / "slurm.sh"


@contextmanager
def running_slurm(folder: Path) -> Iterator[None]:
    """Starts it in a folder, and stops it; the test is skipped where there is none to start, but not in CI."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(name) is None]
    if missing or os.getuid() != 0:
        why = f"no {', '.join(missing)} here: .ci/slurm.sh install" if missing else "slurmd and munged want to be root"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    subprocess.run([SCRIPT, "start", folder], check=True, timeout=120)
    try:
        with pytest.MonkeyPatch.context() as scene:
            scene.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            yield
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=120)
