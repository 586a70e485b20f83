"""The run record ``results.json``: typed, versioned, and null where nothing was measured."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from peft_lightning.errors import UserError
from peft_lightning.runs.checked_json import build, read_object
from peft_lightning.runs.files import write_atomically
from peft_lightning.runs.record_sections import SECTIONS as SECTIONS
from peft_lightning.runs.record_sections import BackboneFigures as BackboneFigures
from peft_lightning.runs.record_sections import CalibrationFigures as CalibrationFigures
from peft_lightning.runs.record_sections import DatasetFigures as DatasetFigures
from peft_lightning.runs.record_sections import EngineFigures as EngineFigures
from peft_lightning.runs.record_sections import EnvironmentFigures as EnvironmentFigures
from peft_lightning.runs.record_sections import MemoryFigures as MemoryFigures
from peft_lightning.runs.record_sections import ParameterFigures as ParameterFigures
from peft_lightning.runs.record_sections import StepFigures as StepFigures
from peft_lightning.runs.record_sections import TimeFigures as TimeFigures
from peft_lightning.task import FIRST, task_named

SCHEMA = 4
# Fields that older records lack get their defaults; fields that they spell otherwise are converted.
READABLE = range(1, SCHEMA + 1)
Status = Literal["running", "finished", "interrupted", "failed", "out_of_memory"]
# Part of the error message of a run whose loss or weights became infinite or NaN.
DIVERGED = "became infinite or NaN"


@dataclass
class RunRecord:
    """The record of one run, ``results.json``; only the ``RunRecorder`` callback writes it.

    ``problem_type`` names the task, which defines what ``metrics`` holds: null is a metric that the examples leave
    undefined, such as the AUROC of a split with one class. They are those of the model alone; ``calibration`` has those
    with what was fitted after training, and is null if nothing was. ``not_measured`` says why times and memory are
    null; it is null if they were measured.
    """

    run_id: str
    recipe: str
    config_sha256: str
    method: str
    seed: int
    data_seed: int
    schema: int = SCHEMA
    status: Status = "running"
    error: str | None = None
    backbone: BackboneFigures | None = None
    dataset: DatasetFigures | None = None
    params: ParameterFigures | None = None
    memory: MemoryFigures = field(default_factory=MemoryFigures)
    time: TimeFigures = field(default_factory=TimeFigures)
    engine: EngineFigures = field(default_factory=EngineFigures)
    not_measured: str | None = None
    problem_type: str = FIRST.problem_type
    metrics: dict[str, float | None] = field(default_factory=dict)
    calibration: CalibrationFigures | None = None
    history: str | None = None
    predictions: str | None = None
    checkpoint_bytes: int | None = None
    environment: EnvironmentFigures | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def diverged(self) -> bool:
        """Whether the run ended because its loss or a weight became infinite or NaN; the same settings would again."""
        return self.status == "failed" and DIVERGED in (self.error or "")

    def write(self, path: Path) -> None:
        """Writes the record, whole or not at all.

        Args:
            path: The file, usually ``RUN_DIR/results.json``.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False)
        write_atomically(path, (text + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Reads a record.

        Raises:
            UserError: If the file is not a record of a readable version.
        """
        try:
            content = read_object(path)
            schema = content.get("schema")
            if type(schema) is not int or schema not in READABLE:
                raise UserError(
                    f"{path} is a record of version {str(schema)[:60]}; this version of peft-lightning reads"
                    f" versions {READABLE[0]} to {SCHEMA}"
                )
            record = build(cls, _of_this_version(content))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not a run record ({error}); delete it or restore the run") from error
        try:
            task_named(record.problem_type)
        except UserError as error:
            raise UserError(f"{path}: ", *error.args) from error
        return record


# Fields of the engine before version 4, outside any section, and their names in the section ``engine``.
_FLAT_ENGINE = {
    "engine": "name",
    "micro_batch_size": "micro_batch_size",
    "unpadded_attention": "unpadded_attention",
    "cudnn_attention": "cudnn_attention",
}


def _of_this_version(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Converts a record of an older version."""
    if content["schema"] >= 4:
        return content
    engine = {name: content[key] for key, name in _FLAT_ENGINE.items() if key in content}
    kept = {key: value for key, value in content.items() if key not in _FLAT_ENGINE}
    return kept | {"schema": SCHEMA, "engine": engine}
