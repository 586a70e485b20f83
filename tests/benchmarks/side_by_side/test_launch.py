"""How a process ended, from its exit code and what it printed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from side_by_side.launch import launch, outcome

TRACEBACK = "Traceback (most recent call last):\n  File x\n{}\n\n"


@pytest.mark.parametrize(
    ("code", "printed", "status"),
    [
        (0, "", "finished"),
        (1, TRACEBACK.format("ValueError: no"), "failed"),
        (1, TRACEBACK.format("torch.OutOfMemoryError: CUDA out of memory. Tried"), "out_of_memory"),
        (2, "peft_lightning: error: the GPU ran out of memory at step 3", "out_of_memory"),
        (-signal.SIGKILL, "", "out_of_memory"),
        (-signal.SIGSEGV, "", "failed"),
    ],
)
def test_a_process_that_dies_is_told_from_one_that_ran_out_of_memory(code: int, printed: str, status: str) -> None:
    assert outcome(code, False, printed)[0] == status


def test_the_last_line_says_what_went_wrong() -> None:
    assert outcome(1, False, TRACEBACK.format("ValueError: no")) == ("failed", "ValueError: no")
    assert outcome(-11, False, "") == ("failed", "exit code -11")


def test_adapters_without_its_packages_is_not_measured(wanted: Callable[..., Any], tmp_path: Path) -> None:
    record = launch(wanted().job("step", "adapters", "x", "lora", 8, 64), tmp_path, 10)
    assert (record["status"], record["figures"]) == ("not_measured", {})
    assert "--adapters_site" in record["error"]
