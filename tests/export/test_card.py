from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard, ModelCardData

from peft_lightning.export.exporting import finish, read_run
from peft_lightning.export.flips import compare
from peft_lightning.export.loading_code import LoadingCode, adapter_code, onnx_code
from peft_lightning.export.proof import Proof
from peft_lightning.export.replaying import Replayed
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import read_saved_answers
from peft_lightning.export.written import Written
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.task import SingleLabel
from tests.export.conftest import Trained

REPORT = {
    "id2label": {"0": "bad", "1": "good"},
    "latency_ms": 12.3,
    "texts_per_s": 80.0,
    "device": "cpu",
    "machine": "x86_64, 2 cores",
    "versions": {"torch": "2.13.0"},
}


def finished(
    run: Path,
    folder: Path,
    form: Any = "adapter",
    code: LoadingCode | None = None,
    window: tuple[int, int] | None = None,
    failure: str | None = None,
    name: str = "mine",
    **changed: Any,
) -> tuple[dict[str, Any], ModelCard]:
    """The report and the card of an export whose answers are the run's."""
    record, config = read_run(run)
    for place, value in changed.items():
        config["data"][place] = value
    saved = read_saved_answers(run, record, read_run(run)[1])
    comparison = compare(saved.answers, np.asarray(saved.answers.answers), 1e-3)
    texts = TextSettings("embedded", None, 16, "tail" if window is None else "head_tail", None, "32-true")
    folder.mkdir()
    (folder / "model.bin").write_bytes(bytes(1000))
    written = Written(
        folder,
        Request(form),
        code or adapter_code(None, None, None),
        window,
        SingleLabel(("bad", "good")),
        None,
        texts,
        [],
    )
    proof = Proof(comparison, Replayed(REPORT, saved.answers.answers, [], None), 0, failure)
    report = finish(written, proof, record, config, name, on_hub="/" in name)
    return report, ModelCard.load(folder / "README.md")


def data_of(card: ModelCard) -> ModelCardData:
    assert isinstance(card.data, ModelCardData)
    return card.data


def test_the_hub_finds_base_data_metric_and_library(trained: Trained, tmp_path: Path) -> None:
    run = trained()
    _, card = finished(run, tmp_path / "out", source="imdb")
    data = data_of(card)
    assert data.library_name == "peft"
    assert data.pipeline_tag == "text-classification"
    assert data.datasets == ["stanfordnlp/imdb"]
    assert data.metrics == ["accuracy", "f1", "auroc"]
    assert {"peft", "lora"} <= set(data.tags or [])
    assert data.base_model is None  # the backbone in the package is on no hub
    assert data.eval_results
    result = data.eval_results[0]
    record, _ = read_run(run)
    assert result.metric_type == "accuracy"
    assert result.metric_value == pytest.approx(record.metrics["test/acc"], abs=1e-4)
    assert result.dataset_type == "stanfordnlp/imdb"


def test_a_reader_learns_what_it_is_how_good_and_what_not_for(trained: Trained, tmp_path: Path) -> None:
    report, card = finished(trained(), tmp_path / "out")
    text = card.text
    assert "It tells apart bad, good" in text
    low, high = report["interval_before"]
    assert f"{100 * low:.1f} – {100 * high:.1f}" in text
    assert "32 to train on, 16 to choose the checkpoint by" in text
    assert "## What it is not for" in text
    assert "Anything but trying the tool" in text
    assert "16 texts of the run's test again: 0 decisions were others" in text
    assert report["before"] == report["after"]
    assert f", and accuracy was {100 * report['after']:.1f} % after {100 * report['before']:.1f} %." in text
    for line in report["load"]:
        assert line.replace("FOLDER", "mine") in text


def test_nothing_of_this_machine_is_told(trained: Trained, reviews: Path, tmp_path: Path) -> None:
    _, card = finished(trained(), tmp_path / "out")
    assert "reviews (local)" in card.text
    assert str(tmp_path) not in card.content
    assert str(tmp_path) not in (tmp_path / "out" / "export.json").read_text()


def test_a_cut_that_no_tokenizer_makes_comes_with_the_lines_that_do(trained: Trained, tmp_path: Path) -> None:
    run = trained()
    _, card = finished(run, tmp_path / "tail")
    assert "cuts texts to 16 tokens at their beginning, as in training" in card.text
    _, card = finished(run, tmp_path / "both", form="onnx", code=onnx_code("model.onnx"), window=(5, 11))
    assert "row[:5] + row[-11:]" in card.text
    assert 'return_tensors="np"' in card.text
    assert "onnx" in (data_of(card).tags or [])


def test_on_the_hub_the_lines_name_the_repository(trained: Trained, tmp_path: Path) -> None:
    _, card = finished(trained(), tmp_path / "out", name="owner/name")
    assert 'folder = snapshot_download("owner/name")' in card.text
    assert card.text.lstrip().startswith("# owner/name")


def test_what_is_not_proved_says_so(trained: Trained, tmp_path: Path) -> None:
    report, card = finished(trained(), tmp_path / "out", failure="3 of 16 answers are others")
    assert report["proved"] is False
    assert "## Not proved\n\n3 of 16 answers are others." in card.text


def test_files_are_counted_and_readable_by_others(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    report, _ = finished(trained(), tmp_path / "out")
    assert report["files"] == {"model.bin": 1000}
    assert report["bytes"] == 1000
    assert {path.stat().st_mode & 0o444 for path in (tmp_path / "out").iterdir()} == {0o444}
