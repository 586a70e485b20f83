import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.data.sources.glue import GLUE, glue_settings
from peft_lightning.data.sources.hub import read_hub
from peft_lightning.errors import Setting, UserError

PLAIN: dict[str, Any] = {
    "configuration": None,
    "text_column": "text",
    "text_pair_column": None,
    "label_column": "label",
    "test_split": None,
}
Write = Callable[..., Path]


def of(source: object, problem_type: str | None = None, **data: Any) -> dict[str, Any]:
    return glue_settings({**PLAIN, "source": str(source), **data}, problem_type)


@pytest.fixture
def hub_files(tmp_path: Path) -> Write:
    """Writes a configuration as the hub has it: a Parquet file for each split, with the names of the classes."""

    def write(name: str, columns: tuple[str, ...], labels: dict[str, list[Any]], classes: list[str] | None) -> Path:
        folder = tmp_path / "copy" / name
        folder.mkdir(parents=True)
        label = datasets.ClassLabel(names=classes) if classes else datasets.Value("float32")
        features = datasets.Features({column: datasets.Value("string") for column in columns} | {"label": label})
        for split, values in labels.items():
            rows = {column: [f"{column} {n} of {split}" for n in range(len(values))] for column in columns}
            made = datasets.Dataset.from_dict({**rows, "label": values}, features)
            made.to_parquet(folder / f"{split}-00000-of-00001.parquet")
        return folder

    return write


def module(source: object, **settings: Any) -> TextDataModule:
    data = TextDataModule(str(source), max_length=32, model_name_or_path="embedded", **settings)
    data.setup("fit")
    return data


def test_the_names_of_the_nine_tasks_stand_for_columns_labels_and_metric() -> None:
    assert of("glue/cola") == {
        "data.text_column": "sentence",
        "model.problem_type": "single_label_classification",
        "checkpoint.monitor": "val/mcc",
    }
    assert of("glue/stsb") == {
        "data.text_column": "sentence1",
        "data.text_pair_column": "sentence2",
        "model.problem_type": "regression",
        "checkpoint.monitor": "val/pearson",
    }
    assert of("glue", configuration="mnli")["data.test_split"] == "validation_matched"
    assert list(GLUE) == ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"]
    measured = {name: {metric.validation for metric in task.kind.measured()} for name, task in GLUE.items()}
    assert all(of(f"glue/{name}")["checkpoint.monitor"] in measured[name] for name in GLUE)


def test_what_is_set_wins_over_the_table() -> None:
    assert "data.test_split" not in of("glue/mnli", test_split="validation_mismatched")
    assert "data.text_column" not in of("glue/cola", text_column="idx")
    # Other labels than GLUE's, or taken for something else, have other metrics.
    assert of("glue/cola", label_column="idx") == {"data.text_column": "sentence"}
    assert of("glue/cola", "regression") == {"data.text_column": "sentence"}


def test_a_source_that_is_spelled_out_stays_as_it_is() -> None:
    assert of("nyu-mll/glue", configuration="cola") == of("glue/cola")
    assert of("nyu-mll/glue", configuration="cola", text_column="sentence") == {}
    assert of("imdb") == of("owner/name") == {}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("glue/CoLA", r"glue/CoLA names none of GLUE's tasks \(cola, .*: did you mean --data.source glue/cola\?"),
        ("glue/sts-b", r"did you mean --data.source glue/stsb\?"),
        ("glue/superb", r"name one with --data.source glue/cola$"),
        ("glue", r"glue names none of GLUE's tasks"),
    ],
)
def test_a_name_that_is_no_task_is_refused_with_those_that_are(source: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        of(source)
    assert re.search(message, refused.value.worded(Setting.as_flag))


def test_a_folder_is_known_by_its_name_and_its_columns(hub_files: Write) -> None:
    cola = hub_files("cola", ("sentence",), {"train": [0, 1]}, ["no", "yes"])
    assert of(cola) == of(cola.parent, configuration="cola") == of("glue/cola")
    assert of(cola, text_column="sentence") == {}
    own = hub_files("rte", ("text",), {"train": [0, 1]}, ["no", "yes"])
    assert of(own) == of(own.parent) == {}


def test_matched_mnli_is_tested_and_the_other_by_setting(hub_files: Write, tmp_path: Path) -> None:
    some = [0, 1, 2] * 8
    splits = {"train": some * 2, "validation_matched": some, "validation_mismatched": some, "test_matched": [-1]}
    names = ["entailment", "neutral", "contradiction"]
    folder = hub_files("mnli", ("premise", "hypothesis"), splits, names)
    data = module(folder, cache_dir=str(tmp_path))
    assert data.task.label_names == tuple(names)
    assert data.description()["test_split"] == "validation_matched"
    assert data.description()["val_split"] is None
    other = module(folder.parent, configuration="mnli", test_split="validation_mismatched", cache_dir=str(tmp_path))
    assert other.description()["test_split"] == "validation_mismatched"


def test_sts_b_is_of_numbers_even_where_all_are_whole(
    hub_files: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": [0.0, 1.0, 5.0, 3.0] * 5, "validation": [2.0, 4.0] * 5, "test": [-1.0] * 4}
    data = module(hub_files("stsb", ("sentence1", "sentence2"), splits, None), cache_dir=str(tmp_path))
    assert data.task.problem_type == "regression"
    assert data.description()["test_split"] == "validation"
    assert "the split test has no labels; tested on the split validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "configuration", "asked"),
    [
        ("glue/cola", None, ("nyu-mll/glue", "cola")),
        ("glue", "rte", ("nyu-mll/glue", "rte")),
        ("tweet_eval/sentiment", None, ("cardiffnlp/tweet_eval", "sentiment")),
        ("tweet_eval/sentiment", "sentiment", ("cardiffnlp/tweet_eval", "sentiment")),
    ],
)
def test_former_names_lead_to_their_owners_repositories(
    source: str, configuration: str | None, asked: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, ...]] = []

    def load(*words: str) -> datasets.DatasetDict:
        found.append(words)
        return datasets.DatasetDict()

    monkeypatch.setattr(datasets, "load_dataset", load)
    read_hub(source, "text", "label", configuration)
    assert found == [asked]


def test_two_configurations_are_refused() -> None:
    with pytest.raises(UserError, match=r"sentiment is the configuration sentiment of cardiffnlp/tweet_eval"):
        read_hub("tweet_eval/sentiment", "text", "label", "emotion")


def test_a_name_that_the_hub_has_not_is_refused_with_the_flag_for_configurations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*words: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError

    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(UserError, match=r"old_name/part is neither .* OWNER/NAME; a configuration is named with conf"):
        read_hub("old_name/part", "text", "label")
