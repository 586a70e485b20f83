"""What a step, a start and memory cost: efficiency, peaks of each rank, ratios to the HF Trainer's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from side_by_side.cost_rows import costs
from side_by_side.markdown_tables import as_markdown
from side_by_side.peer_job import identity

Make = Callable[..., Any]
Records = dict[str, dict[str, Any]]
ABOUT = {"commands": ["vs_peers"], "machine": {"gpu": "a card", "versions": {}}, "work": {}}


@pytest.fixture
def records(wanted: Make, finished: Make) -> Records:
    """A decoder on one device and on two; the second repeat of the machine was twice as slow."""
    asked = wanted(recipes="decoder", ours={"bf16": (), "lean": ()}, devices=[1, 2])
    made: Records = {}

    def add(peer: str, variant: str, ms: float, devices: int, **figures: Any) -> None:
        for repeat, slow in enumerate((1, 2)):
            job = asked.job("step", peer, variant, "lora", 8, 64, repeat, devices)
            made[job.key] = identity(job) | finished(ms * slow, **figures)

    add("hf-best", "a", 40.0, 1)
    add("hf-checkpointed", "a", 80.0, 1)
    add("ours", "bf16", 10.0, 1, peak_allocated_gib=1.5, peak_rss_gib=2.0, startup_s=9.0)
    add("ours", "lean", 20.0, 1)
    ranks = [{"peak_allocated_gib": 1.5}, {"peak_allocated_gib": 1.75}]
    add("ours", "bf16", 12.5, 2, peak_allocated_gib=1.75, ranks=ranks)
    return made


def line(text: str, *cells: str) -> list[str]:
    found = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("|")]
    (match,) = [row for row in found if row[2:6] == list(cells)]
    return match[5:]


def test_a_row_says_time_rate_memory_start_and_how_much_longer_the_trainer_takes(records: Records) -> None:
    text = costs(records)[1]
    assert line(text, "lora", "ours", "bf16", "1") == (
        ["1", "15.0", "533.3", "–", "1.50", "–", "2.00", "9.0", "4.00", "8.00"]
    )
    assert line(text, "lora", "ours", "lean", "1")[-1] == "4.00"


def test_two_devices_are_as_good_as_their_samples_over_those_of_two_single_ones(records: Records) -> None:
    cells = line(costs(records)[1], "lora", "ours", "bf16", "2")
    assert cells == ["2", "18.8", "853.3", "80 %", "1.50, 1.75", "–", "–", "–", "–", "–"]


def test_rows_of_different_devices_are_not_put_together(records: Records) -> None:
    text = as_markdown(ABOUT, records)
    assert "### Batch 8, 64 tokens, 2 devices" in text
    assert "| lora | ours | bf16 | 18.8 | 12.5–25.0 |" in text
    assert "| 8 | 64 | lora | ours | bf16, 2 devices | 1.75 |" in text


def test_what_an_encoder_on_one_device_costs_stands_in_the_other_tables(wanted: Make, finished: Make) -> None:
    job = wanted().job("step", "ours", "fp32", "lora", 8, 64)
    assert costs({job.key: identity(job) | finished(5.0)}) == []
