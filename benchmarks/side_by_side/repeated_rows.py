"""Rows of the tables: each peer's variant with its repeats put together, and ratios within the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Records = Mapping[str, Mapping[str, Any]]
STUDY = "hf-study"
OURS = "ours"


def size_words(batch_size: int, max_length: int) -> str:
    """Says how large the batches of a row are."""
    return f"batch {batch_size}, {max_length} tokens"


def floor_words(record: Mapping[str, Any]) -> str:
    """Says what a floor was measured over."""
    return f"{size_words(record['batch_size'], record['max_length'])}, {record['steps']} steps"


@dataclass(frozen=True)
class Row:
    """One peer's variant with one method at one size.

    Args:
        kind: `step`, `whole` or `trial`.
        peer: who trained.
        variant: which way.
        method: what was trained.
        batch_size: reviews in a batch.
        max_length: tokens that reviews were cut to.
        records: the record of each repeat, by its number.
        devices: GPUs, or processes on a CPU.
    """

    kind: str
    peer: str
    variant: str
    method: str
    batch_size: int
    max_length: int
    records: Mapping[int, Mapping[str, Any]]
    devices: int = 1

    @property
    def way(self) -> str:
        """The variant, and on how many devices where these are several."""
        return self.variant if self.devices == 1 else f"{self.variant}, {self.devices} devices"

    @property
    def samples_per_s(self) -> float | None:
        """Reviews that all devices train on in a second; None where steps were not timed."""
        time = self.median("ms_per_step")
        return None if time is None else 1000 * self.batch_size * self.devices / time

    @property
    def failure(self) -> str | None:
        """Why there is no figure; None where a repeat finished."""
        if any(record["status"] == "finished" for record in self.records.values()):
            return None
        record = self.records[min(self.records)]
        status = str(record["status"]).replace("_", " ")
        return f"{status}: {record['error']}" if record["error"] else status

    @property
    def steps(self) -> int | None:
        """The optimiser steps of each repeat that finished; None where these differ."""
        counts = {record["steps"] for record in self.records.values() if record["status"] == "finished"}
        return counts.pop() if len(counts) == 1 else None

    def values(self, name: str) -> dict[int, float]:
        """A figure by repeat, where it was measured; `process_s` is the parent's own."""
        found = {}
        for repeat, record in self.records.items():
            value = record["process_s"] if name == "process_s" else record["figures"].get(name)
            if record["status"] == "finished" and value is not None:
                found[repeat] = float(value)
        return found

    def median(self, name: str) -> float | None:
        """A figure's median over the repeats; None where it was not measured."""
        values = self.values(name)
        return statistics.median(values.values()) if values else None


def rows_of(records: Records, kind: str) -> list[Row]:
    """Puts repeats together.

    Args:
        records: the records, by key.
        kind: the kind of jobs.

    Returns:
        A row for each peer's variant, method, size and number of devices, in the order in which they were measured.
    """
    found: dict[tuple[Any, ...], dict[int, Mapping[str, Any]]] = {}
    names = ("kind", "peer", "variant", "method", "batch_size", "max_length")
    for record in records.values():
        if record["kind"] == kind:
            identity = (*(record[name] for name in names), record.get("devices", 1))
            found.setdefault(identity, {})[record["repeat"]] = record
    return [
        Row(**dict(zip((*names, "devices"), identity, strict=True)), records=repeats)
        for identity, repeats in found.items()
    ]


def times_faster(row: Row, other: Row | None, name: str) -> float | None:
    """How many times as long another row takes: the median of the ratios within the repeats that both have.

    Args:
        row: the row.
        other: what it is held against.
        name: the figure, a time.
    """
    if other is None:
        return None
    own, theirs = row.values(name), other.values(name)
    ratios = [theirs[repeat] / own[repeat] for repeat in own.keys() & theirs.keys()]
    return statistics.median(ratios) if ratios else None


def study_row(rows: Sequence[Row]) -> Row | None:
    """The study's own way among rows of one method and size."""
    return next((row for row in rows if row.peer == STUDY), None)


def fastest_peer(rows: Sequence[Row], name: str) -> Row | None:
    """The fastest row that is not this project's, among rows of one method and size."""
    timed = [(time, row) for row in rows if row.peer != OURS and (time := row.median(name)) is not None]
    return min(timed, key=lambda pair: pair[0])[1] if timed else None


def floor_ms(records: Records, row: Row, name: str) -> float | None:
    """The floor of a row's method and size, over as many steps: their number says which reviews the tokens are of.

    Args:
        records: the records, by key.
        row: the row.
        name: `floor_own_ms` or `floor_square_ms`.

    Returns:
        The floor in ms of one device; None where none was measured over the row's steps.
    """
    if row.devices > 1:  # other reviews, and the floor knows nothing of what devices send each other
        return None
    size = (row.batch_size, row.max_length, row.steps)
    for record in records.values():
        same = (record["batch_size"], record["max_length"], record["steps"]) == size
        if record["kind"] == "floor" and record["status"] == "finished" and same:
            return float(record["figures"]["methods"][row.method][name])
    return None
