import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from peft_lightning.callbacks.prediction_writer import Predictions
from peft_lightning.task import SingleLabel
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer

BATCHES = [
    {
        "index": torch.tensor([7, 3]),
        "labels": torch.tensor([2, 0]),
        "logits": torch.tensor([[0.0, 0.0, 3.0], [0.0, 1.0, 0.0]]),
    },
    {"index": torch.tensor([5]), "labels": torch.tensor([1]), "logits": torch.tensor([[0.0, 8.0, 0.0]])},
]


def test_one_row_an_example_in_the_source_s_order(tmp_path: Path) -> None:
    predictions = Predictions()
    predictions.write_to(tmp_path / "predictions.parquet")
    watched = trainer(tmp_path, predictions)
    watched.test(ScriptedModule(), datamodule=ScriptedData(test=BATCHES), verbose=False)
    table = pq.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert table["index"] == [3, 5, 7]
    assert table["label"] == [0, 1, 2]
    assert table["prediction"] == [1, 1, 2]
    rows = zip(*(table[f"probability_{number}"] for number in range(3)), strict=True)
    expected = torch.stack([BATCHES[0]["logits"][1], BATCHES[1]["logits"][0], BATCHES[0]["logits"][0]]).softmax(-1)
    assert torch.allclose(torch.tensor(list(rows)), expected)

    # A second test starts afresh.
    watched.test(ScriptedModule(), datamodule=ScriptedData(test=BATCHES[:1]), verbose=False)
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 2


def test_the_tokens_of_each_example_are_counted_without_padding_and_beside_the_other_columns(tmp_path: Path) -> None:
    masks = (torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]), torch.ones(1, 3, dtype=torch.int64))
    padded = [batch | {"attention_mask": mask} for batch, mask in zip(BATCHES, masks, strict=True)]
    tables = []
    for name, batches in (("plain", BATCHES), ("padded", padded), ("partly", [padded[0], BATCHES[1]])):
        predictions = Predictions()
        predictions.write_to(tmp_path / f"{name}.parquet")
        watched = trainer(tmp_path, predictions)
        watched.test(ScriptedModule(), datamodule=ScriptedData(test=batches), verbose=False)
        tables.append(pq.read_table(tmp_path / f"{name}.parquet"))
    plain, with_tokens, partly = tables
    assert with_tokens.column("tokens").to_pylist() == [2, 3, 4]
    assert with_tokens.drop(["tokens"]).equals(plain)
    # Lengths of some texts only would be taken for those of all.
    assert partly.equals(plain)


def test_nothing_is_written_without_a_place(tmp_path: Path) -> None:
    trainer(tmp_path, Predictions()).test(ScriptedModule(), datamodule=ScriptedData(test=BATCHES), verbose=False)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_bf16_probabilities_are_stored_as_numbers_that_sum_to_one(tmp_path: Path) -> None:
    predictions = Predictions()
    predictions.write_to(tmp_path / "predictions.parquet")
    batch = BATCHES[0] | {"logits": BATCHES[0]["logits"].bfloat16()}
    trainer(tmp_path, predictions).test(ScriptedModule(), datamodule=ScriptedData(test=[batch]), verbose=False)
    for row in pq.read_table(tmp_path / "predictions.parquet").to_pylist():
        assert sum(row[f"probability_{number}"] for number in range(3)) == pytest.approx(1, abs=1e-6)


def test_the_file_says_what_the_classes_are_called(tmp_path: Path) -> None:
    predictions = Predictions()
    predictions.write_to(tmp_path / "predictions.parquet")
    module = ScriptedModule(task=SingleLabel(("bad", "fair", "good")))
    trainer(tmp_path, predictions).test(module, datamodule=ScriptedData(test=BATCHES), verbose=False)
    metadata = pq.read_schema(tmp_path / "predictions.parquet").metadata
    assert json.loads(metadata[b"class_names"]) == ["bad", "fair", "good"]
    assert metadata[b"problem_type"] == b"single_label_classification"
