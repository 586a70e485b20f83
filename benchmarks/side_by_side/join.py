"""Joining what several folders hold, such as one for each GPU of a host, into one measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_lightning.errors import UserError
from side_by_side.repeated_rows import floor_words, size_words
from side_by_side.results import FILE, held

Record = dict[str, Any]
# What a table holds against each other: the kind, the method and, but for whole jobs, the size.
_Group = tuple[Any, ...]


@dataclass(frozen=True)
class Measured:
    """What one folder holds.

    Args:
        folder: the folder.
        about: what was asked and on what it was measured.
        records: the records, by key.
    """

    folder: Path
    about: Mapping[str, Any]
    records: Mapping[str, Record]

    def groups(self) -> dict[_Group, set[str]]:
        """The keys of the rows that are held against each other; a floor is measured for itself."""
        found: dict[_Group, set[str]] = {}
        for key, record in self.records.items():
            if record["kind"] != "floor":
                # The table of whole jobs compares those of a method, whatever their size.
                size = () if record["kind"] == "whole" else _size(record)
                found.setdefault((record["kind"], record["method"], *size), set()).add(key)
        return found


def joined(folders: Sequence[Path]) -> tuple[dict[str, Any], dict[str, Record]]:
    """Joins the measurements of several folders.

    Args:
        folders: the folders, each with what `vs_peers.py` has written.

    Returns:
        What was asked and on what it was measured, with `joined` saying so, and the records by key.

    Raises:
        UserError: a folder holds no measurement, or the folders' figures cannot stand in one table.
    """
    measured = [_read(folder) for folder in folders]
    for other in measured[1:]:
        _check_alike(measured[0], other)
    records = _records(measured)
    _check_side_by_side(measured)
    commands = [command for part in measured for command in part.about["commands"]]
    about = {
        "commands": list(dict.fromkeys(commands)),
        "machine": measured[0].about["machine"],
        "adapters_site": _adapters_site(measured),
        "work": measured[0].about["work"],
        "joined": {"folders": len(measured), "floors_of_several": _floors_of_several(measured)},
    }
    return about, records


def _read(folder: Path) -> Measured:
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: --join takes folders that were an --out")
    with held(folder):
        text = path.read_bytes()
    try:
        content = json.loads(text)
        measured = Measured(folder, content["about"], content["records"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not what vs_peers.py writes") from error
    if "joined" in measured.about:
        raise UserError(f"{folder} is itself joined from others: name those")
    return measured


def _check_alike(part: Measured, other: Measured) -> None:
    for name in ("machine", "work"):
        differing = list(_differences(part.about[name], other.about[name]))
        if differing:
            raise UserError(
                f"{part.folder} and {other.folder} cannot be joined, their {name} differs: {'; '.join(differing)}"
            )


def _differences(part: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    """Names what differs, a package by its own name."""
    for name in dict.fromkeys([*part, *other]):
        first, second = part.get(name), other.get(name)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _differences(first, second)
        elif first != second:
            yield f"{name} is {first} and {second}"


def _adapters_site(measured: Sequence[Measured]) -> dict[str, str]:
    """The packages of `adapters`, of those folders that measured it."""
    sites = [(part.folder, part.about["adapters_site"]) for part in measured if part.about.get("adapters_site")]
    for folder, site in sites[1:]:
        differing = list(_differences(sites[0][1], site))
        if differing:
            raise UserError(
                f"{sites[0][0]} and {folder} cannot be joined, their packages of `adapters` differ:"
                f" {'; '.join(differing)}"
            )
    return dict(sites[0][1]) if sites else {}


def _records(measured: Sequence[Measured]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    origin: dict[str, Path] = {}
    for part in measured:
        for key, record in part.records.items():
            earlier = found.get(key)
            if earlier is not None:
                if _text(earlier) == _text(record):
                    continue
                if record["kind"] != "floor":
                    raise UserError(f"{origin[key]} and {part.folder} hold different figures of {key}")
                _check_same_reviews(origin[key], earlier, part.folder, record)
                # Every call measures the floor of its sizes. The first is kept, and the table says so.
                if earlier["status"] == "finished" or record["status"] != "finished":
                    continue
            found[key], origin[key] = record, part.folder
    return found


def _check_same_reviews(folder: Path, earlier: Record, other: Path, record: Record) -> None:
    """Reviews are not named in `about`; their tokens are counted, and so the same for the same reviews."""
    tokens = [floor["figures"].get("tokens_per_step") for floor in (earlier, record)]
    if None not in tokens and tokens[0] != tokens[1]:
        raise UserError(
            f"{folder} and {other} cannot be joined, they trained on different reviews: a batch of"
            f" {earlier['batch_size']} has {tokens[0]:.1f} and {tokens[1]:.1f} tokens on average"
        )


def _check_side_by_side(measured: Sequence[Measured]) -> None:
    """Ratios are of rows of one group: a single folder must hold all of it. Others may hold the same records."""
    groups = [part.groups() for part in measured]
    apart = []
    for group in dict.fromkeys(group for held_by in groups for group in held_by):
        keys = set().union(*(held_by.get(group, set()) for held_by in groups))
        if not any(held_by.get(group) == keys for held_by in groups):
            kind, method, *size = group
            where = [str(part.folder) for part, held_by in zip(measured, groups, strict=True) if group in held_by]
            at = f" at {size_words(*size)}" if size else ""
            apart.append(f"`{kind}` of {method}{at} in {' and '.join(where)}")
    if apart:
        raise UserError(f"these rows would be compared and were not measured side by side: {'; '.join(apart)}")


def _floors_of_several(measured: Sequence[Measured]) -> list[str]:
    """The sizes and steps whose floor more than one folder measured, in words."""
    floors: dict[str, set[str]] = {}
    for part in measured:
        finished = [r for r in part.records.values() if r["kind"] == "floor" and r["status"] == "finished"]
        firsts = {floor_words(record): _text(record) for record in reversed(finished)}
        for words, text in firsts.items():
            floors.setdefault(words, set()).add(text)
    return [words for words, texts in floors.items() if len(texts) > 1]


def _size(record: Record) -> tuple[int, int]:
    return record["batch_size"], record["max_length"]


def _text(record: Record) -> str:
    """For telling records apart: NaN, as a loss may be, is not equal to itself."""
    return json.dumps(record, sort_keys=True)
