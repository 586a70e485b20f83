"""What `step_by_type.py` has measured: a record of each run, and what a step is compared with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from peft_lightning.runs.files import write_atomically
from side_by_side.results import require_same

Form = Literal["captured", "eager", "nf4"]
FORMS: tuple[Form, ...] = ("captured", "eager", "nf4")
FILE = "step_by_type.json"
BASELINE = "lora"
# In a record: LoRA's captured step in ms when it was measured, where that has been measured anew since.
OLD_BASELINE = "lora_captured_ms"
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
