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
from peft_lightning.runs.process_start import Start
from peft_lightning.task import FIRST, task_named

SCHEMA = 4
# Fields that older records lack get their defaults; fields that they spell otherwise are converted.
READABLE = range(1, SCHEMA + 1)
Status = Literal["running", "finished", "interrupted", "failed", "out_of_memory"]
# Part of the error message of a run whose loss or weights became infinite or NaN.
DIVERGED = "became infinite or NaN"


@dataclass
class BackboneFigures:
    """The pretrained weights that a run started from."""

    name: str
    revision: str | None
    sha256: str
    model_type: str


@dataclass
class DatasetFigures:
    """The texts that a run trained, validated and tested on.

    ``val_split`` and ``test_split`` name the source's own splits; null if those rows came out of the training split.
    ``windows`` counts those that the texts to validate and test on are read in; null where long texts are cut.
    The others count training texts that an earlier one repeats, evaluated texts that are also in training, training
    texts that ``data.deduplicate`` left out, and training texts with each class or label, in the order of their numbers
    (null where labels are numbers); null in older records.
    """

    source: str
    fingerprint: str
    n_train: int
    n_val: int
    n_test: int
    max_length: int
    truncated_share: float
    val_split: str | None = None
    test_split: str | None = None
    train_repeats: int | None = None
    val_in_train: int | None = None
    test_in_train: int | None = None
    removed_from_train: int | None = None
    windows: int | None = None
    train_labels: list[int] | None = None

    @property
    def length_in_words(self) -> str:
        """How many tokens of a text were read."""
        return f"{'cut at' if self.windows is None else 'tested in windows of'} {self.max_length} tokens"


@dataclass
class ParameterFigures:
    """Parameter counts; ``total`` and the percentage refer to the original model, without adapters."""

    trainable: int
    adapter: int
    head: int
    total: int
    trainable_percent: float


@dataclass
class MemoryFigures:
    """Memory in GiB; null for a device that the run did not use."""

    weights_gib: float | None = None
    gradients_gib: float | None = None
    optimizer_gib: float | None = None
    activations_gib: float | None = None
    train_peak_allocated_gib: float | None = None
    train_peak_reserved_gib: float | None = None
    eval_peak_allocated_gib: float | None = None
    eval_peak_reserved_gib: float | None = None
    train_peak_rss_gib: float | None = None


@dataclass
class TimeFigures:
    """Times in seconds; ``train_s`` excludes evaluation, and includes the time before a resume.

    ``startup_s`` goes from the process's start to the first step, and ``start`` says what that start was: a ``cold``
    process imports everything itself, a ``warm`` one was forked with all imports done. ``eval_rows`` counts what one
    process read in the evaluations that ``eval_s`` times: texts, or their windows. Null in older records.
    """

    startup_s: float | None = None
    train_s: float | None = None
    epoch_s: list[float] = field(default_factory=list)
    eval_s: float | None = None
    steps: int | None = None
    samples_per_s: float | None = None
    start: Start | None = None
    eval_rows: int | None = None


@dataclass
class EngineFigures:
    """How training steps ran, at the end of the run.

    ``micro_batch_size`` is the number of examples that went through the model together. ``unpadded_attention`` says
    whether attention left padding out. ``cudnn_attention`` says whether training might otherwise use cuDNN's attention,
    which is planned for every width of a batch. Null if the choice was left to torch, as on a CPU and on several GPUs.
    ``batch_size`` is the number of examples in a batch of one process, ``global_batch_size`` that of an optimiser step,
    in all processes and all batches whose gradients add up.
    """

    name: str | None = None
    micro_batch_size: int | None = None
    unpadded_attention: bool | None = None
    cudnn_attention: bool | None = None
    processes: int | None = None
    batch_size: int | None = None
    global_batch_size: int | None = None


@dataclass
class CalibrationFigures:
    """What was fitted on the validation split after training, and how it changes metrics.

    ``thresholds`` are by the names of the labels that are answered above them, ``thresholds_by`` is the metric that
    they were chosen by, and ``n_val`` the number of rows. ``before`` holds the metrics of the model alone, ``after``
    those with what was fitted, both on the validation split, which ``after`` was fitted on, and on the test split,
    which it was not.
    """

    temperature: float | None = None
    thresholds: dict[str, float] | None = None
    thresholds_by: str | None = None
    n_val: int | None = None
    before: dict[str, float | None] = field(default_factory=dict)
    after: dict[str, float | None] = field(default_factory=dict)


# The sections that callbacks measure, by their names in the record.
SECTIONS = {
    "params": ParameterFigures,
    "memory": MemoryFigures,
    "time": TimeFigures,
    "engine": EngineFigures,
    "calibration": CalibrationFigures,
}


@dataclass
class EnvironmentFigures:
    """The software and hardware of a run."""

    python: str
    torch: str
    lightning: str
    transformers: str
    peft: str
    bitsandbytes: str | None
    device: str
    precision: str
    deterministic: bool
    git: str | None


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
