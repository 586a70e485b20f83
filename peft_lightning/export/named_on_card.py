"""What a card names a run by: its backbone, its data, and the metrics that its test has measured."""

from __future__ import annotations

from pathlib import Path

from peft_lightning.data.sources import hub_name
from peft_lightning.data.sources.embedded_sources import EMBEDDED
from peft_lightning.recipes import Config
from peft_lightning.runs.given_paths import given_path
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Metric, Task


def measured(task: Task, record: RunRecord) -> list[tuple[Metric, float]]:
    """Returns the metrics that are shown, with the values of the run's test; those without one are left out."""
    found = [(metric, record.metrics.get(metric.test)) for metric in task.shown()]
    return [(metric, value) for metric, value in found if value is not None]


def hub_base(record: RunRecord) -> str | None:
    """Returns the backbone's name where it is one on the hub."""
    if record.backbone is None or record.backbone.name == "embedded" or given_path(record.backbone.name).exists():
        return None
    return record.backbone.name


def base_in_words(record: RunRecord) -> str:
    """Words the backbone; of a local folder only its name, since a card is shown to others."""
    if record.backbone is None:
        return "a pretrained encoder"
    if record.backbone.name == "embedded":
        return "the small RoBERTa in peft-lightning"
    if hub_base(record) is None:
        return f"{Path(record.backbone.name).name} (a local folder)"
    return record.backbone.name + (f", commit {record.backbone.revision}" if record.backbone.revision else "")


def dataset_in_words(config: Config) -> str:
    """Words the data; of a local folder or file only its name."""
    source = str(config["data"]["source"])
    if source in EMBEDDED:
        kind = source.partition("/")[2].replace("_", " ")
        return "the synthetic reviews in peft-lightning" + (f" ({kind})" if kind else "")
    if (name := hub_name(source)) is not None:
        more = config["data"].get("configuration")
        return name + (f" ({more})" if more else "")
    return f"{Path(source).name} (local)"
