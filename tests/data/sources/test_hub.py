from pathlib import Path
from typing import Any

import datasets
import pytest

from peft_lightning.data.sources import hub as hub_module
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
    rows: dict[str, list[Any]] = {"text": ["bad", "good"], "label": [0, 1]}
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
    words = r"^imdb is no local path, and cannot be loaded .*source='embedded' .* source=DIR$"
    with pytest.raises(UserError, match=words) as caught:
        train_and_test("imdb", "text", "label")
    assert "\n" not in str(caught.value)
    line = caught.value.worded(Setting.as_flag)
    assert line.endswith("add --config configs/offline.yaml or name a local folder with --data.source DIR")


def test_a_configuration_and_splits_of_the_hub(hub: dict[Any, Any]) -> None:
    def rows(*texts: str, label: str = "x") -> datasets.Dataset:
        return dataset(None, {"text": list(texts), "label": [label] * len(texts)})

    hub["nyu-mll/glue", "mnli"] = datasets.DatasetDict(train=rows("a"), validation_matched=rows("b"), other=rows("c"))
    found = read_hub("nyu-mll/glue", "text", "label", "mnli")
    chosen = choose_splits(found, SourceOptions(val_split="other", test_split="validation_matched"))
    assert chosen.val is not None
    assert chosen.test is not None
    assert [chosen.train.texts, chosen.val.texts, chosen.test.texts] == [["a"], ["c"], ["b"]]
    with pytest.raises(UserError, match=r"glue on the hub has no split 'dev' \(it has train, validation_matched"):
        choose_splits(found, SourceOptions(val_split="dev"))


def test_glues_test_labels_are_none(hub: dict[Any, Any]) -> None:
    hub["owner/name", None] = datasets.DatasetDict(
        train=dataset("label", {"text": ["a", "b"], "label": [0, 1]}),
        validation=dataset("label", {"text": ["c"], "label": [1]}),
        test=dataset("label", {"text": ["d"], "label": [-1]}),
    )
    chosen = choose_splits(read_hub("owner/name", "text", "label"), SourceOptions())
    assert chosen.test is not None
    assert (chosen.test.texts, chosen.val) == (["c"], None)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A dataset of two configurations; the hub's name leads to a folder, which `datasets` itself reads."""
    for name in ("sst2", "cola"):
        (tmp_path / "hub" / name).mkdir(parents=True)
        rows = dataset(None, {"text": [name, "b"], "label": ["x", "y"]})
        rows.to_parquet(tmp_path / "hub" / name / "train-00000-of-00001.parquet")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*\n" for name in ("sst2", "cola"))
    (tmp_path / "hub" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    monkeypatch.setattr(hub_module, "_ALIASES", {"owner/name": str(tmp_path / "hub")})
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return "owner/name"


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (None, r"needs a configuration \(it has sst2, cola\)"),
        ("mnli", r"has no configuration 'mnli' \(it has sst2"),
    ],
)
def test_configurations_that_there_are_not(repository: str, configuration: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        read_hub(repository, "text", "label", configuration)
    assert refused.value.worded(Setting.as_flag).endswith("name one with --data.configuration")


def test_a_configuration_is_passed_on(repository: str) -> None:
    assert choose_splits(read_hub(repository, "text", "label", "cola"), SourceOptions()).train.texts == ["cola", "b"]


def test_a_configuration_in_the_cache_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, configuration: str | None) -> None:
        raise ValueError(
            f"Couldn't find cache for {name} for config 'default'\nAvailable configs in the cache: ['cola', 'sst2']"
        )

    monkeypatch.setattr(datasets, "load_dataset", missing)
    with pytest.raises(UserError, match=r"owner/name on the hub needs a configuration \(it has cola, sst2\)"):
        read_hub("owner/name", "text", "label")


def test_texts_of_the_hub_that_are_not_utf8_are_named_by_row(hub: dict[Any, Any]) -> None:
    import pyarrow as pa

    raw = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    hub["owner/name", None] = datasets.DatasetDict(train=datasets.Dataset(pa.table({"text": raw, "label": ["x", "y"]})))
    with pytest.raises(UserError, match=r"row 2 of owner/name \(train\) is not UTF-8"):
        train_and_test("owner/name", "text", "label")
