"""The tables: ratios within repeats, shares of the floor, rows of what failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from side_by_side.markdown_tables import as_markdown
from side_by_side.peer_job import identity
from side_by_side.repeated_rows import fastest_peer, rows_of, study_row, times_faster

Make = Callable[..., Any]
Records = dict[str, dict[str, Any]]
ABOUT = {
    "commands": ["python benchmarks/vs_peers.py --reviews imdb"],
    "machine": {"gpu": "a card", "versions": {"torch": "2.13"}},
    "work": {"backbone": "random weights"},
}


@pytest.fixture
def records(wanted: Make, finished: Make) -> Records:
    """Three peers, two repeats; in the second the machine was twice as slow for everybody."""
    asked = wanted(peers=["hf-study", "lightning", "ours"])
    made: Records = {}

    def add(peer: str, variant: str, repeat: int, record: dict[str, Any], kind: str = "step") -> None:
        job = asked.job(kind, peer, variant, "lora", 8, 64, repeat)
        made[job.key] = identity(job) | record

    methods = {"lora": {"gflop": 1.0, "optimizer_mb": 2.0, "floor_own_ms": 2.0, "floor_square_ms": 1.0}}
    figures: dict[str, Any] = {"methods": methods, "square": 64, "tokens_per_step": 9.0, "bandwidth_gb_per_s": 1.0}
    figures |= {f"{shape}_tflops_{dtype}": 1.0 for shape in ("own", "square") for dtype in ("float32", "bfloat16")}
    add("floor", "floor", 0, {"status": "finished", "error": None, "process_s": 1.0, "figures": figures}, "floor")
    for repeat, slow in enumerate((1, 2)):
        add("hf-study", "defaults", repeat, finished(40.0 * slow))
        add("lightning", "32-true", repeat, finished(20.0 * slow))
        failed = {"status": "out_of_memory", "error": "CUDA out of memory", "process_s": 1.0, "figures": {}}
        add("lightning", "bf16-mixed", repeat, failed)
    # Measured in the slow repeat alone: held against the medians of the others it would look slower than it is.
    add("ours", "fp32", 1, finished(20.0, peak_allocated_gib=1.5))
    return made


def test_ratios_compare_what_was_measured_in_the_same_repeat(records: Records) -> None:
    rows = rows_of(records, "step")
    ours = next(row for row in rows if row.peer == "ours")
    assert times_faster(ours, study_row(rows), "ms_per_step") == 4.0
    fastest = fastest_peer(rows, "ms_per_step")
    assert fastest is not None
    assert (fastest.peer, fastest.variant) == ("lightning", "32-true")
    assert times_faster(ours, fastest, "ms_per_step") == 2.0


def test_a_row_shows_time_ratios_and_its_share_of_the_floor(records: Records) -> None:
    table = as_markdown(ABOUT, records)
    assert "| lora | ours | fp32 | 20.0 | – | – | 50,000 | 4.00 | 2.00 | 10 % | 5 % | 0.700 | – |" in table
    assert "| lora | hf-study | defaults | 60.0 | 40.0–80.0 |" in table


def test_repeats_of_different_steps_share_no_floor(records: Records) -> None:
    second = next(record for record in records.values() if record["peer"] == "hf-study" and record["repeat"] == 1)
    second["steps"] = 20
    row = next(line for line in as_markdown(ABOUT, records).splitlines() if line.startswith("| lora | hf-study "))
    assert row.split(" | ")[9:11] == ["–", "–"]


def test_what_failed_is_a_row_that_says_why(records: Records) -> None:
    line = next(line for line in as_markdown(ABOUT, records).splitlines() if "bf16-mixed" in line)
    assert "out of memory: CUDA out of memory" in line


def test_memory_that_was_not_measured_is_a_dash_and_no_zero(records: Records) -> None:
    memory = as_markdown(ABOUT, records).split("## Peak memory")[1].split("##")[0]
    assert "| 8 | 64 | lora | ours | fp32 | 1.50 | – | – | – |" in memory


def test_the_table_says_command_machine_and_versions(records: Records) -> None:
    table = as_markdown(ABOUT, records)
    for word in ("vs_peers.py --reviews imdb", "a card", "torch 2.13", "random weights"):
        assert word in table


def test_whole_jobs_are_compared_by_the_seconds_of_the_process(wanted: Make, finished: Make) -> None:
    asked = wanted(whole_job=True)
    made: Records = {}
    for peer, seconds in (("hf-study", 90.0), ("ours", 30.0)):
        job = asked.job("whole", peer, "x", "lora", 8, 64)
        made[job.key] = identity(job) | finished(5.0, process_s=seconds, startup_s=4.0, compile_s=1.0, train_s=20.0)
    assert "| lora | ours | x | 30.0 | 4.0 | 1.0 | 20.0 | 3.00 | 3.00 | – |" in as_markdown(ABOUT, made)
