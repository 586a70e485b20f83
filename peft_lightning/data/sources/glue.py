"""The nine tasks of GLUE (Wang et al. 2019): what a run is told of each, unless its settings say otherwise.

Columns and splits are those of ``nyu-mll/glue`` on the hub. Where GLUE reports two figures, the first one chooses the
best checkpoint, and both are recorded: accuracy and F1 for MRPC and QQP, Pearson and Spearman for STS-B.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.given_paths import given_path
from peft_lightning.task import Regression, SingleLabel, Task

_FORMER_NAME = "glue"
_ON_HUB = "nyu-mll/glue"
_LABELS = "label"
# The settings that the table fills in, with the values that stand for none.
_UNSET: dict[str, Any] = {"data.text_column": "text"}


@dataclass(frozen=True)
class GlueTask:
    """A task of GLUE.

    Args:
        text_column: Column of the texts.
        text_pair_column: Column of the second texts; None for single texts.
        metric: Key of the metric that chooses the best checkpoint.
        kind: What its labels are.
        test_split: The split to test on, where the source does not tell by itself: most of GLUE's test labels are not
            public.
    """

    text_column: str
    text_pair_column: str | None = None
    metric: str = "acc"
    kind: type[Task] = SingleLabel
    test_split: str | None = None

    @property
    def columns(self) -> set[str]:
        """All columns that are read."""
        return {self.text_column, _LABELS} | ({self.text_pair_column} if self.text_pair_column else set())


GLUE = {
    "cola": GlueTask("sentence", metric="mcc"),
    "sst2": GlueTask("sentence"),
    "mrpc": GlueTask("sentence1", "sentence2"),
    "qqp": GlueTask("question1", "question2"),
    "stsb": GlueTask("sentence1", "sentence2", "pearson", Regression),
    # Its second one, validation_mismatched, is of other genres than the training split.
    "mnli": GlueTask("premise", "hypothesis", test_split="validation_matched"),
    "qnli": GlueTask("question", "sentence"),
    "rte": GlueTask("sentence1", "sentence2"),
    "wnli": GlueTask("sentence1", "sentence2"),
}


def glue_settings(data: Mapping[str, Any], problem_type: str | None = None) -> dict[str, Any]:
    """Returns the settings that a source's name stands for, without those that are set.

    Args:
        data: The settings of the data by name: ``source``, ``configuration`` and those of columns and splits.
        problem_type: What the user takes the labels for; None for what they are.

    Returns:
        Values by dotted name, such as ``data.text_column``, those of the model and the checkpoints among them; empty
        for a source that is none of GLUE.

    Raises:
        UserError: If the source is named like a task of GLUE and is none.
    """
    found = _named(data["source"], data["configuration"])
    if found is None and data["text_column"] == _UNSET["data.text_column"]:
        # Whoever names the column has spelled the source out, and its settings stay as they are.
        found = _spelled_out(data["source"], data["configuration"])
    if found is None:
        return {}
    filled: dict[str, Any] = {
        "data.text_column": found.text_column,
        "data.text_pair_column": found.text_pair_column,
        "data.test_split": found.test_split,
    }
    filled = {name: value for name, value in filled.items() if data[name.partition(".")[2]] == _UNSET.get(name)}
    # Other labels have other metrics.
    if data["label_column"] == _LABELS and problem_type in (None, found.kind.problem_type):
        filled |= {"model.problem_type": found.kind.problem_type, "checkpoint.monitor": f"val/{found.metric}"}
    return {name: value for name, value in filled.items() if value is not None}


def settings_of_source(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that the source of a run stands for, without those that the run states.

    Args:
        settings: The settings of the run by section; what is not there has its default.

    Returns:
        Values by dotted name, as ``glue_settings`` does.

    Raises:
        UserError: If the source is named like a task of GLUE and is none.
    """
    stated, model = settings.get("data"), settings.get("model")
    if not isinstance(stated, Mapping) or not isinstance(stated.get("source"), str):
        return {}
    asked = model.get("problem_type") if isinstance(model, Mapping) else None
    data = {"configuration": None, "text_column": "text", "text_pair_column": None, "label_column": _LABELS}
    filled = glue_settings({**data, "test_split": None, **stated}, asked)
    # Those of the data are compared with the defaults already.
    return {name: value for name, value in filled.items() if name.startswith("data.") or _unstated(settings, name)}


def _unstated(settings: Mapping[str, Any], name: str) -> bool:
    section, _, key = name.partition(".")
    stated = settings.get(section)
    return not isinstance(stated, Mapping) or stated.get(key) is None


def _named(source: str, configuration: str | None) -> GlueTask | None:
    """Finds the task that a name on the hub is of, such as ``glue/cola``."""
    former, _, name = source.partition("/")
    if former != _FORMER_NAME or "/" in name or Path(source).exists():
        return None
    name = name or configuration or ""
    if name not in GLUE:
        near = difflib.get_close_matches(name.lower().replace("-", ""), GLUE, 1)
        meant = Setting("data.source", f"{_FORMER_NAME}/{near[0] if near else 'cola'}")
        raise UserError(
            f"{source} names none of GLUE's tasks ({', '.join(GLUE)}): {'did you mean ' if near else 'name one with '}",
            meant,
            "?" if near else "",
        )
    return GLUE[name]


def _spelled_out(source: str, configuration: str | None) -> GlueTask | None:
    """Finds the task of a configuration on the hub, or of a folder with its files, by its name and its columns."""
    if source == _ON_HUB:
        return GLUE.get(configuration or "")
    folder = given_path(source)
    folder = folder / configuration if configuration is not None else folder
    task = GLUE.get(folder.name)
    if task is None or not folder.is_dir():
        return None
    files = sorted(folder.glob("train*.parquet"))
    if not files:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = set(pq.read_schema(files[0]).names)
    except (OSError, pa.ArrowInvalid):
        return None  # what is wrong with it is said where it is read
    return task if task.columns <= columns else None
