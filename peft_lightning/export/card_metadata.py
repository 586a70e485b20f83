"""The metadata of a card, which the hub reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft_lightning.data.sources import hub_name
from peft_lightning.export.named_on_card import dataset_in_words, hub_base, measured
from peft_lightning.recipes import Config
from peft_lightning.runs.record import RunRecord

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

    from peft_lightning.export.written import Written

_TAGS = {"adapter": ["peft"], "merged": [], "onnx": ["onnx"]}


def card_metadata(written: Written, record: RunRecord, config: Config, name: str) -> ModelCardData:
    """Returns the metadata.

    Args:
        written: The export.
        record: The run's record.
        config: The run's configuration.
        name: The export's name: its folder's, or a repository's.
    """
    from huggingface_hub import EvalResult, ModelCardData

    dataset, task = hub_name(config["data"]["source"]), written.task
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset or "local",
            dataset_name=dataset or dataset_in_words(config),
            dataset_split=None if record.dataset is None else record.dataset.test_split,
            metric_type=metric.name.lower().replace(" ", "_"),
            metric_name=metric.name,
            metric_value=round(value, 4),
        )
        for metric, value in measured(task, record)
    ]
    base = hub_base(record)
    return ModelCardData(
        model_name=name.rpartition("/")[2],
        base_model=base,
        base_model_relation=("adapter" if written.request.form == "adapter" else "finetune") if base else None,
        datasets=[dataset] if dataset else None,
        metrics=[metric.name.lower().replace(" ", "_") for metric, _ in measured(task, record)] or None,
        library_name=written.code.library,
        pipeline_tag="text-classification",
        tags=[*_TAGS[written.request.form], record.method, "peft-lightning"],
        eval_results=results or None,
    )
