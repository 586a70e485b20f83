"""The sections of the run record: backbone, data, and what was measured of a run; null where it was not."""

from dataclasses import dataclass, field

from peft_lightning.runs.process_start import Start


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
    """Memory in GiB; null for a device that the run did not use.

    Of several processes a peak is the largest, and ``by_process`` has those of each, in the order of their numbers;
    null where one process trains. The shares of weights, gradients and optimiser are those of the first.
    """

    weights_gib: float | None = None
    gradients_gib: float | None = None
    optimizer_gib: float | None = None
    activations_gib: float | None = None
    train_peak_allocated_gib: float | None = None
    train_peak_reserved_gib: float | None = None
    eval_peak_allocated_gib: float | None = None
    eval_peak_reserved_gib: float | None = None
    train_peak_rss_gib: float | None = None
    by_process: list[dict[str, float]] | None = None


@dataclass
class TimeFigures:
    """Times in seconds; ``train_s`` excludes evaluation, and includes the time before a resume.

    ``startup_s`` goes from the process's start to the first step, and ``start`` says what that start was: a ``cold``
    process imports everything itself, a ``warm`` one was forked with all imports done. ``eval_rows`` counts what one
    process read in the evaluations that ``eval_s`` times: texts, or their windows. ``train_s_by_process`` is what the
    clock of each process says of its last start, null where one process trains. Null in older records.
    """

    startup_s: float | None = None
    train_s: float | None = None
    epoch_s: list[float] = field(default_factory=list)
    eval_s: float | None = None
    steps: int | None = None
    samples_per_s: float | None = None
    start: Start | None = None
    eval_rows: int | None = None
    train_s_by_process: list[float] | None = None


@dataclass
class StepFigures:
    """How training steps ran in one process, at the end of the run.

    ``micro_batch_size`` is the number of examples that went through the model together. ``unpadded_attention`` says
    whether attention left padding out. ``cudnn_attention`` says whether training might otherwise use cuDNN's attention,
    which is planned for every width of a batch. Null if the choice was left to torch, as on a CPU.
    """

    name: str | None = None
    micro_batch_size: int | None = None
    unpadded_attention: bool | None = None
    cudnn_attention: bool | None = None


@dataclass
class EngineFigures(StepFigures):
    """How training steps ran: of several processes those of the first.

    ``batch_size`` is the number of examples in a batch of one process, ``global_batch_size`` that of an optimiser step,
    in all processes and all batches whose gradients add up. ``by_process`` has the steps of each process, in the order
    of their numbers: each cuts its batches and falls back by itself. Null where one process trains, and in older
    records.
    """

    processes: int | None = None
    batch_size: int | None = None
    global_batch_size: int | None = None
    by_process: list[StepFigures] | None = None


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
