import json
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.errors import UserError
from peft_lightning.runs.record import (
    BackboneFigures,
    DatasetFigures,
    EngineFigures,
    MemoryFigures,
    ParameterFigures,
    RunRecord,
    TimeFigures,
)
from peft_lightning.runs.row import as_markdown, as_text


def a_record(**changes: Any) -> RunRecord:
    """A record with every section filled but the environment."""
    record = RunRecord("0" * 32, "tuned/lora", "f" * 64, "lora", 42, 7)
    record.backbone = BackboneFigures("roberta-base", None, "a" * 64, "roberta")
    record.dataset = DatasetFigures("imdb", "b" * 64, 3000, 1000, 2000, 256, 0.25)
    record.params = ParameterFigures(1181954, 589824, 592130, 124647170, 0.948)
    record.memory = MemoryFigures(train_peak_allocated_gib=1.5, train_peak_rss_gib=None)
    record.time = TimeFigures(train_s=456.0, epoch_s=[152.0, 152.0, 152.0], steps=1125)
    record.metrics = {"test/acc": 0.912, "val/acc": 0.9}
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def written(path: Path) -> dict[str, Any]:
    """A whole record as JSON, to be spoilt."""
    a_record().write(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = a_record(status="out_of_memory", error="the GPU ran out of memory", notes=["adamw_8bit is used"])
    record.write(tmp_path / "results.json")
    assert RunRecord.read(tmp_path / "results.json") == record


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("", "surprise", 1),
        ("memory", "surprise", 1.0),
        ("", "status", "done"),
        ("", "seed", "42"),
        ("", "seed", True),
        ("", "seed", 4.5),
        ("", "method", None),
        ("", "metrics", [0.9]),
        ("", "notes", "one"),
        ("dataset", "n_train", 3000.0),
        ("dataset", "truncated_share", "a quarter"),
        ("memory", "weights_gib", False),
        ("time", "epoch_s", {"0": 1.0}),
        ("time", "steps", 1.5),
        ("backbone", "name", 7),
    ],
)
def test_what_does_not_belong_is_refused(section: str, key: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    content = written(path)
    (content[section] if section else content)[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=key) as refused:
        RunRecord.read(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("schema", [0, 5, None, "1"])
def test_another_version_is_refused_and_named(schema: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(written(path) | {"schema": schema}))
    with pytest.raises(UserError, match=f"version {schema}"):
        RunRecord.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '"record"'])
def test_what_is_no_record_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"results\.json"):
        RunRecord.read(path)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    content = written(path)
    del content["dataset"]["fingerprint"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="fingerprint"):
        RunRecord.read(path)


def test_a_figure_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    a_record().write(path)
    before = path.read_bytes()
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            a_record(metrics={"val/loss": value}).write(path)
    assert path.read_bytes() == before


def test_what_was_not_measured_is_null(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    RunRecord("0" * 32, "lora", "f" * 64, "lora", 42, 42).write(path)
    content = json.loads(path.read_text())
    assert set(content["memory"].values()) == {None}
    assert {content["time"][name] for name in ("startup_s", "train_s", "eval_s", "steps")} == {None}
    assert [content[name] for name in ("backbone", "dataset", "params", "environment", "predictions")] == [None] * 5


def test_the_row_words_what_the_record_says() -> None:
    headers, row = as_text(a_record()).splitlines()
    assert headers.split("  ")[0] == "method"
    assert row.split("  ")[0] == "lora"
    for cell in ("1,181,954 (0.95 %)", "1.50 GiB", "7.6 min", "91.2 %"):
        assert cell in row
        assert cell in as_markdown(a_record())
    assert headers.index("test accuracy") == row.index("91.2 %")


def test_the_row_shows_a_dash_for_what_was_not_measured() -> None:
    row = as_text(RunRecord("0" * 32, "lora", "f" * 64, "lora", 42, 42)).splitlines()[1]
    assert row.split() == ["lora", "–", "–", "(no", "GPU)", "–", "–"]
    assert "0" not in row


def test_a_record_of_the_version_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    older = written(path) | {"schema": 1}
    del older["engine"]
    path.write_text(json.dumps(older))
    record = RunRecord.read(path)
    assert record.engine == EngineFigures(None, None, None, None)
    path.write_text(json.dumps(older | {"schema": 2, "engine": "graph", "micro_batch_size": 8}))
    assert RunRecord.read(path).engine == EngineFigures("graph", 8, None, None)


def test_a_record_whose_engine_was_no_section_yet_is_read_with_its_figures_and_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    flat = {"engine": "compiled", "micro_batch_size": 4, "unpadded_attention": True, "cudnn_attention": False}
    path.write_text(json.dumps(written(path) | flat | {"schema": 3}))
    record = RunRecord.read(path)
    assert record.engine == EngineFigures("compiled", 4, unpadded_attention=True, cudnn_attention=False)
    assert record == a_record(engine=record.engine)
    record.write(path)
    assert RunRecord.read(path) == record
    for key, value in (("engine", 7), ("micro_batch_size", "4"), ("cudnn_attention", 1)):
        path.write_text(json.dumps(written(path) | flat | {"schema": 3, key: value}))
        with pytest.raises(UserError, match=r"results\.json"):
            RunRecord.read(path)


def test_a_record_of_today_has_its_engine_in_the_section_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(written(path) | {"micro_batch_size": 4}))
    with pytest.raises(UserError, match="micro_batch_size"):
        RunRecord.read(path)
