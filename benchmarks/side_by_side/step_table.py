"""What `step_by_type.py` has measured: its file, and the two tables that it makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from peft_lightning.runs.files import write_atomically
from side_by_side.markdown_cells import NONE, number, table
from side_by_side.results import require_same

Form = Literal["captured", "eager", "nf4"]
FORMS: tuple[Form, ...] = ("captured", "eager", "nf4")
FILE = "step_by_type.json"
BASELINE = "lora"
# In a record: LoRA's captured step in ms when it was measured, where that has been measured anew since.
OLD_BASELINE = "lora_captured_ms"
# What was aimed at: a captured step of at most so many times LoRA's.
BOUND = 2.5
RIGHT = "---:"
Record = Mapping[str, Any]


class StepResults:
    """Reads what a folder holds and adds to it.

    Args:
        folder: the folder.
        about: the commands, the machine and the work; the latter two must be those of what is there.

    Raises:
        UserError: the folder holds figures of another machine or of other work.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.path = folder / FILE
        self.about = about
        self.records: dict[str, Record] = {}
        if self.path.is_file():
            content = json.loads(self.path.read_text(encoding="utf-8"))
            require_same(self.path, content, about)
            self.records = content["records"]
            before = content["commands"]
            self.about = about | {"commands": [*before, *(c for c in about["commands"] if c not in before)]}

    def has(self, recipe: str, form: Form, retry: bool = False) -> bool:
        """Tells whether a run is over.

        Args:
            recipe: the recipe's name.
            form: its form.
            retry: whether one that failed is not.
        """
        record = self.records.get(f"{recipe}/{form}")
        return record is not None and not (retry and record["status"] == "failed")

    def add(self, name: str, record: Record) -> None:
        """Keeps a record, on disk too.

        A new figure of LoRA's captured step leaves the ratios of earlier records what they were: they keep the old one.

        Args:
            name: the recipe and the form, `lora/eager`.
            record: what became of it.
        """
        before = self.measured(BASELINE, "captured")
        if name == f"{BASELINE}/captured" and before is not None:
            self.records = {
                other: {OLD_BASELINE: before["ms_per_step"], **kept} if kept["status"] == "measured" else kept
                for other, kept in self.records.items()
            }
        self.records[name] = record
        self.write()

    def write(self) -> None:
        """Writes the file."""
        content = {**self.about, "records": self.records}
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())

    def words(self, name: str) -> str:
        """Says in a line what became of a run."""
        record = self.records[name]
        if record["status"] != "measured":
            # The list of the types that can is as long for each of those that cannot.
            return f"{record['status']}: {re.sub(r' [(][^()]* can[)]', '', record['why'])}"
        return f"{record['ms_per_step']:.2f} ms ({record['engine']})"

    def times_baseline(self, record: Record | None) -> float | None:
        """Returns how many times LoRA's captured step, as measured beside it, a step takes; None if either is missing.

        Args:
            record: the step's record.
        """
        baseline = self.measured(BASELINE, "captured")
        if record is None or baseline is None:
            return None
        return float(record["ms_per_step"] / record.get(OLD_BASELINE, baseline["ms_per_step"]))

    def measured(self, recipe: str, form: Form) -> Record | None:
        """Returns the record of a run with figures; None if there is none."""
        record = self.records.get(f"{recipe}/{form}")
        return record if record is not None and record["status"] == "measured" else None


def as_markdown(results: StepResults) -> str:
    """Writes both tables, what they leave out, and what was measured with what."""
    names = list(dict.fromkeys(name.partition("/")[0] for name in results.records))
    machine = ", ".join(f"{key}: {json.dumps(value)}" for key, value in results.about["machine"].items() if value)
    work = ", ".join(f"{key}: {value}" for key, value in results.about["work"].items())
    parts = [
        "# Steps of every recipe",
        *_captured(results, names),
        *_four_bits(results, names),
        "```\n" + "\n".join(results.about["commands"]) + "\n```",
        f"{work}; {machine}",
    ]
    return "\n\n".join(parts) + "\n"


def within_bound(results: StepResults, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the recipes whose captured step is within the bound, and those beyond it or not captured.

    Args:
        results: what has been measured.
        names: the recipes.
    """
    within: list[str] = []
    beyond: list[str] = []
    for name in names:
        times = results.times_baseline(results.measured(name, "captured"))
        if times is not None:
            (within if times <= BOUND else beyond).append(name)
    return within, beyond


def _captured(results: StepResults, names: Sequence[str]) -> list[str]:
    header = (
        *("recipe", "captured, ms", "steps/s", "× LoRA", "eager, ms", "steps/s", "captured is × as fast"),
        *("peak captured, GiB", "peak eager, GiB", "trained weights"),
    )
    reasons: list[str] = []
    rows = []
    for name in sorted(names, key=lambda name: _ms(results.measured(name, "captured"))):
        captured, eager = results.measured(name, "captured"), results.measured(name, "eager")
        label = f"`{name}`"
        if captured is not None and captured["engine"] != "graph":
            label += f" ({_reason(reasons, name, _why_eager(captured))})"
        elif captured is None and f"{name}/captured" in results.records:
            label += f" ({_reason(reasons, name, results.words(f'{name}/captured'))})"
        trained = captured or eager
        rows.append(
            [
                label,
                *_speed(captured),
                number(results.times_baseline(captured), 2),
                *_speed(eager),
                _ratio(eager, captured) if captured and captured["engine"] == "graph" else NONE,
                *(_gib(record) for record in (captured, eager)),
                f"{trained['trainable']:,}" if trained else NONE,
            ]
        )
    within, beyond = within_bound(results, names)
    bound = f"{len(within)} of {len(within) + len(beyond)} recipes step within {BOUND:g} × of LoRA's captured step"
    bound += f"; beyond: {', '.join(f'`{name}`' for name in beyond)}." if beyond else "."
    return [
        "## Captured against eager",
        table(header, rows, RIGHT),
        *_notes(reasons),
        bound,
        *_baselines(results, "captured"),
    ]


def _four_bits(results: StepResults, names: Sequence[str]) -> list[str]:
    header = ("recipe", "ms", "× LoRA in bf16", "peak, GiB", "peak in bf16, GiB", "saved, GiB")
    rows: list[list[str]] = []
    left_out: list[str] = []
    shown = {}
    for name in names:
        record = results.records.get(f"{name}/nf4")
        if record is not None and record["status"] != "measured":
            left_out.append(f"- `{name}` – {results.words(f'{name}/nf4')}")
        elif record is not None:
            shown[name] = record, results.measured(name, "captured")
        elif any(f"{other}/nf4" in results.records for other in names) and (own := results.measured(name, "captured")):
            shown[name] = own, None  # in four bits as it is
    for name, (record, wide) in sorted(shown.items(), key=lambda item: _gib_or_ms(item[1][0])):
        saved = NONE
        if wide is not None and record["peak_allocated_gib"] and wide["peak_allocated_gib"]:
            saved = f"{wide['peak_allocated_gib'] - record['peak_allocated_gib']:.3f}"
        ms = f"{record['ms_per_step']:.2f}" + ("" if record["engine"] == "graph" else " eager")
        rows.append([f"`{name}`", ms, number(results.times_baseline(record), 2), _gib(record), _gib(wide), saved])
    if not rows and not left_out:
        return []
    refused = ["These do not train beside a backbone in four bits:", "\n".join(left_out)] if left_out else []
    return ["## On a backbone in four bits (NF4)", table(header, rows, RIGHT), *refused, *_baselines(results, "nf4")]


def _baselines(results: StepResults, form: Form) -> list[str]:
    """Says which of LoRA's captured steps the ratios of a form are to, where it was measured several times."""
    latest = results.measured(BASELINE, "captured")
    beside: dict[float, list[str]] = {}
    for name, record in results.records.items():
        recipe, _, its_form = name.partition("/")
        if latest is not None and its_form == form and record["status"] == "measured":
            beside.setdefault(record.get(OLD_BASELINE, latest["ms_per_step"]), []).append(recipe)
    if len(beside) < 2:
        return []
    *few, most = sorted(beside, key=lambda ms: len(beside[ms]))
    named = [f"{ms:.2f} ms for {', '.join(f'`{name}`' for name in sorted(beside[ms]))}" for ms in few]
    return [f"Ratios are to LoRA's captured step in the same call: {'; '.join(named)}; {most:.2f} ms for the others."]


def _why_eager(record: Record) -> str:
    notes = [note for note in record["notes"] if "captured" in note or "engine" in note or "eager" in note]
    return f"ran {record['engine']}: {'; '.join(notes) or 'without a note'}"


def _reason(reasons: list[str], name: str, why: str) -> int:
    reasons.append(f"`{name}` {why}")
    return len(reasons)


def _notes(reasons: Sequence[str]) -> list[str]:
    return ["\n".join(f"{place}. {why}" for place, why in enumerate(reasons, 1))] if reasons else []


def _ms(record: Record | None) -> float:
    return float("inf") if record is None else float(record["ms_per_step"])


def _gib_or_ms(record: Record) -> tuple[float, float]:
    return record["peak_allocated_gib"] or 0.0, record["ms_per_step"]


def _speed(record: Record | None) -> tuple[str, str]:
    if record is None:
        return NONE, NONE
    return f"{record['ms_per_step']:.2f}", f"{1000 / record['ms_per_step']:.0f}"


def _ratio(record: Record | None, other: Record | None) -> str:
    return NONE if record is None or other is None else f"{record['ms_per_step'] / other['ms_per_step']:.2f}"


def _gib(record: Record | None) -> str:
    return number(None if record is None else record["peak_allocated_gib"], 3)
