from typing import Any

import datasets
import pytest

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.hub import read_hub
from peft_lightning.data.sources.splits import SourceOptions, choose_splits
from peft_lightning.errors import Setting, UserError


def dataset(name: str | None, rows: dict[str, list[Any]]) -> datasets.Dataset:
    names = ["neg", "pos"]
    label = datasets.ClassLabel(names=names) if name else datasets.Value("string")
    return datasets.Dataset.from_dict(rows, datasets.Features({"text": datasets.Value("string"), "label": label}))


def train_and_test(source: str, text_column: str, label_column: str) -> tuple[RawSplit, RawSplit | None]:
    found = choose_splits(read_hub(source, text_column, label_column), SourceOptions())
    return found.train, found.test


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str | None], datasets.DatasetDict]:
    """What the hub has; the libraries' own reading of it needs a network."""
    there: dict[tuple[str, str | None], datasets.DatasetDict] = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: there[name, configuration])
    return there


def test_imdb_is_the_hubs_with_its_class_names(hub: dict[Any, Any]) -> None:
    rows = {"text": ["bad", "good"], "label": [0, 1]}
    hub["stanfordnlp/imdb", "plain_text"] = datasets.DatasetDict(
        train=dataset("label", rows),
        test=dataset("label", rows),
        unsupervised=dataset("label", {"text": ["?"], "label": [-1]}),
    )
    train, test = train_and_test("imdb", "text", "label")
    assert (train.texts, train.labels, train.label_names) == (["bad", "good"], [0, 1], ["neg", "pos"])
    assert test is not None


def test_another_dataset_is_tested_on_its_validation_split(hub: dict[Any, Any]) -> None:
    hub["owner/name", None] = datasets.DatasetDict(
        train=dataset(None, {"text": ["a", "b"], "label": ["x", "y"]}),
        validation=dataset(None, {"text": ["c"], "label": ["x"]}),
    )
    train, test = train_and_test("owner/name", "text", "label")
    assert train.label_names is None
    assert test is not None
    assert test.texts == ["c"]
    with pytest.raises(UserError, match=r"owner/name \(train\) has no column 'review' \(it has 'text', 'label'\)"):
        train_and_test("owner/name", "review", "label")


def test_without_a_network_the_line_names_the_offline_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot load stanfordnlp/imdb .*source='embedded' .* source=DIR$") as caught:
        train_and_test("imdb", "text", "label")
    assert "\n" not in str(caught.value)
    line = caught.value.worded(Setting.as_flag)
    assert line.endswith("add --config configs/offline.yaml or name a local folder with --data.source DIR")
