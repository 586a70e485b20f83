"""What a row costs: a step, a start and memory, beside the HF Trainer's, and what further devices bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from side_by_side.markdown_cells import NONE, number, table
from side_by_side.repeated_rows import Records, Row, rows_of, times_faster

HEADER = (
    *("devices", "ms per step", "samples/s", "efficiency", "allocated", "reserved", "on the host", "start-up, s"),
    *("× hf-best", "× hf-checkpointed"),
)
NOTE = (
    "Peaks are in GiB, from the end of loading to the last step, and the resident memory of the host from the process's"
    " start; of several devices each rank's. Start-up goes from the process's start to its first step. Efficiency is"
    " the samples a second of so many devices over those of as many single ones."
)


def costs(records: Records) -> list[str]:
    """Writes the table where decoders or several devices were measured; nothing else.

    Args:
        records: the records, by key.
    """
    if not any(r.get("recipes", "study") != "study" or r.get("devices", 1) > 1 for r in records.values()):
        return []
    rows = rows_of(records, "step")
    identity = ("batch", "tokens", "method", "peer", "variant")
    lines = [
        [str(row.batch_size), str(row.max_length), row.method, row.peer, row.variant, *cost_cells(row, rows)]
        for row in rows
    ]
    return ["## What a step, a start and memory cost", table((*identity, *HEADER), lines), NOTE]


def cost_cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """Writes the cells under `HEADER`.

    Args:
        row: the row.
        rows: all that were measured beside it.
    """
    if row.failure is not None:
        return [str(row.devices), row.failure, *[NONE] * (len(HEADER) - 2)]
    alike = [other for other in rows if _place(other) == _place(row)]
    single = next((o for o in alike if (o.peer, o.variant, o.devices) == (row.peer, row.variant, 1)), None)
    beside = {other.peer: other for other in alike if other.devices == row.devices}
    efficiency = None if row.devices == 1 else times_faster(row, single, "ms_per_step")
    return [
        str(row.devices),
        number(row.median("ms_per_step"), 1),
        number(row.samples_per_s, 1),
        NONE if efficiency is None else f"{100 * efficiency:.0f} %",
        *(_of_each_rank(row, name) for name in ("peak_allocated_gib", "peak_reserved_gib", "peak_rss_gib")),
        number(row.median("startup_s"), 1),
        *(number(times_faster(row, beside.get(peer), "ms_per_step"), 2) for peer in ("hf-best", "hf-checkpointed")),
    ]


def _place(row: Row) -> tuple[Any, ...]:
    return row.method, row.batch_size, row.max_length


def _of_each_rank(row: Row, name: str) -> str:
    """A peak; of several ranks those of the first repeat that has them, and else the largest."""
    for record in row.records.values():
        ranks = [rank.get(name) for rank in record["figures"].get("ranks", ())]
        if ranks and None not in ranks:
            return ", ".join(number(value, 2) for value in ranks)
    return number(row.median(name), 2)
