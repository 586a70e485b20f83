"""The measurement as Markdown: steps, whole jobs, memory, trials, the floor, and what it was measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from side_by_side.cost_rows import costs
from side_by_side.markdown_cells import NONE, number, table
from side_by_side.repeated_rows import (
    Records,
    Row,
    fastest_peer,
    floor_ms,
    floor_words,
    rows_of,
    study_row,
    times_faster,
)

_ROW = ("method", "peer", "variant")
_TIMES = ("× hf-study", "× fastest peer")
_SHARES = ("floor/step, own shapes", "floor/step, square")


def as_markdown(about: Mapping[str, Any], records: Records) -> str:
    """Writes all tables.

    Args:
        about: commands, machine and work.
        records: the records, by key.
    """
    parts = ["# Peers side by side", *_steps(records), *_whole(records)]
    parts += [*costs(records), *_memory(records), *_trials(records)]
    return "\n\n".join([*parts, *_floors(records), *_about(about)]) + "\n"


def _steps(records: Records) -> list[str]:
    header = (*_ROW, "ms per step", "range", "CPU ms per step", "tokens/s", *_TIMES, *_SHARES, "final loss", "trained")
    parts = ["## Training steps in steady state"]
    for (batch_size, length, devices), size in _grouped(
        rows_of(records, "step"), "batch_size", "max_length", "devices"
    ):
        lines = []
        for _, rows in _grouped(size, "method"):
            study, fastest = study_row(rows), fastest_peer(rows, "ms_per_step")
            lines += [_step_cells(records, row, study, fastest) for row in rows]
        title = f"### Batch {batch_size}, {length} tokens"
        parts += [title if devices == 1 else f"{title}, {devices} devices", table(header, lines)]
    note = (
        "`×` says how many times as long the other takes, as the median of the ratios within the repeats; the fastest"
        " peer is the fastest row of its method that is not this project's. Tokens are counted without padding."
    )
    return [*parts, note]


def _step_cells(records: Records, row: Row, study: Row | None, fastest: Row | None) -> list[str]:
    cells = [row.method, row.peer, row.variant]
    if row.failure is not None:
        return [*cells, row.failure, *[NONE] * 9]
    time, times = row.median("ms_per_step"), row.values("ms_per_step").values()
    spread = f"{min(times):.1f}–{max(times):.1f}" if len(times) > 1 else NONE
    cells += [number(time, 1), spread, number(row.median("cpu_ms_per_step"), 1)]
    cells.append(number(row.median("tokens_per_s"), 0))
    cells += [number(times_faster(row, other, "ms_per_step"), 2) for other in (study, fastest)]
    for name in ("floor_own_ms", "floor_square_ms"):
        least = floor_ms(records, row, name)
        cells.append(NONE if least is None or time is None else f"{100 * least / time:.0f} %")
    return [*cells, number(row.median("final_loss"), 3), number(row.median("trained_parameters"), 0)]


def _whole(records: Records) -> list[str]:
    header = (*_ROW, "whole job, s", "start-up, s", "compilation, s", "training, s", *_TIMES, "test accuracy")
    lines = []
    for _, rows in _grouped(rows_of(records, "whole"), "method"):
        study, fastest = study_row(rows), fastest_peer(rows, "process_s")
        for row in rows:
            cells = [row.method, row.peer, row.variant]
            if row.failure is not None:
                lines.append([*cells, row.failure, *[NONE] * 6])
                continue
            names = ("process_s", "startup_s", "compile_s", "train_s")
            cells += [number(row.median(name), 1) for name in names]
            cells += [number(times_faster(row, other, "process_s"), 2) for other in (study, fastest)]
            lines.append([*cells, number(row.median("test_accuracy"), 3)])
    return ["## Whole jobs, from the process's start to its end", table(header, lines)] if lines else []


def _memory(records: Records) -> list[str]:
    names = ("peak_allocated_gib", "peak_reserved_gib", "peak_driver_gib", "peak_rss_gib")
    header = ("batch", "tokens", *_ROW, "allocated", "reserved", "as the driver sees it", "resident on the host")
    lines = []
    for row in rows_of(records, "step"):
        cells = [str(row.batch_size), str(row.max_length), row.method, row.peer, row.way]
        if row.failure is None:
            lines.append([*cells, *(number(row.median(name), 2) for name in names)])
    note = (
        "The driver's figure counts the CUDA context and managed memory too, less what was in use before. It is read"
        " ten times a second, so a peak that lasts less, as while steps are captured, can be missed; torch's cannot."
    )
    return ["## Peak memory, GiB", table(header, lines), note]


def _trials(records: Records) -> list[str]:
    lines = []
    for (method, batch_size, length), rows in _grouped(rows_of(records, "trial"), "method", "batch_size", "max_length"):
        fastest = fastest_peer(rows, "ms_per_step")
        for row in rows:
            shown = row.failure or number(row.median("ms_per_step"), 1)
            lines.append([str(batch_size), str(length), method, row.variant, shown, "chosen" if row is fastest else ""])
    header = ("batch", "tokens", "method", "variant", "ms per step", "")
    return ["## Trials of the HF Trainer's variants", table(header, lines)] if lines else []


def _floors(records: Records) -> list[str]:
    lines, sentences = [], []
    for record in records.values():
        if record["kind"] != "floor" or record["status"] != "finished":
            continue
        figures = record["figures"]
        size = floor_words(record)
        rates = [
            f"{figures[f'own_tflops_{name}']:.4g} TFLOP/s on the model's own shapes and"
            f" {figures[f'square_tflops_{name}']:.4g} on a square of {figures['square']} in {name}"
            for name in ("float32", "bfloat16")
        ]
        sentences.append(
            f"* {size}: {figures['tokens_per_step']:.0f} tokens a step, {'; '.join(rates)};"
            f" memory is copied at {figures['bandwidth_gb_per_s']:.4g} GB/s."
        )
        for method, floor in figures["methods"].items():
            cells = [size, method, f"{floor['gflop']:.1f}", f"{floor['optimizer_mb']:.1f}"]
            lines.append([*cells, f"{floor['floor_own_ms']:.2f}", f"{floor['floor_square_ms']:.2f}"])
    header = ("size", "method", "GFLOP", "optimiser, MB", "floor on own shapes, ms", "floor on a square, ms")
    return ["## The floor", table(header, lines), "\n".join(sentences)] if lines else []


def _about(about: Mapping[str, Any]) -> list[str]:
    machine = dict(about["machine"])
    versions = machine.pop("versions")
    commands = "\n".join(about["commands"])
    lines = [f"* {name}: {value}" for name, value in machine.items() if value is not None]
    lines.append("* versions: " + ", ".join(f"{name} {value}" for name, value in versions.items() if value))
    if about.get("adapters_site"):
        lines.append("* of `adapters`: " + ", ".join(f"{k} {v}" for k, v in about["adapters_site"].items()))
    lines += [f"* {name}: {value}" for name, value in about["work"].items()]
    lines += _joined(about["joined"]) if "joined" in about else []
    return ["## Measured with", f"```\n{commands}\n```", "\n".join(lines)]


def _joined(joined: Mapping[str, Any]) -> list[str]:
    lines = [
        f"* joined from {joined['folders']} folders, which were measured at the same time on different GPUs or one"
        " after the other; the rows that `×` compares are always of one folder"
    ]
    if joined["floors_of_several"]:
        sizes = "; ".join(joined["floors_of_several"])
        lines.append(f"* floor measured in more than one of them, all shares are of the first: {sizes}")
    return lines


def _grouped(rows: Iterable[Row], *names: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return list(groups.items())
