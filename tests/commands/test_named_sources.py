from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
import torch
import yaml

from peft_lightning.__main__ import main
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.record import RunRecord
from peft_lightning.serving.folders import load_answerer
from tests.compare.plan.test_plan import printed_config


@pytest.fixture
def cola(tiny_fit: list[str], tmp_path: Path) -> list[str]:
    """The words of a `fit` of a copy of CoLA."""
    folder = tmp_path / "cola"
    folder.mkdir()
    classes = datasets.ClassLabel(names=["unacceptable", "acceptable"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": classes})
    for split, labels in {"train": [0, 1] * 32, "validation": [0, 1] * 8, "test": [-1] * 4}.items():
        rows = {"sentence": [f"{split} {n}" for n in range(len(labels))], "label": labels}
        datasets.Dataset.from_dict(rows, features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    words = list(tiny_fit)
    words[words.index("--data.source") + 1] = str(folder)
    return [*words, "--trainer.limit_train_batches", "1"]


def test_a_task_of_glue_is_trained_and_recorded_by_its_own_metric(
    cola: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = printed_config(*cola)
    main(cola)
    run = Path("lightning_logs/lora/version_0")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (printed["data"], printed["checkpoint"]) == (config["data"], config["checkpoint"])
    assert printed["model"]["problem_type"] == config["model"]["problem_type"]
    assert config["data"]["text_column"] == "sentence"
    assert config["model"]["problem_type"] == "single_label_classification"
    assert config["checkpoint"]["monitor"] == "val/mcc"
    shown = capsys.readouterr().out
    flags = "--data.text_column sentence --model.problem_type single_label_classification --checkpoint.monitor val/mcc"
    assert f"data: {tmp_path / 'cola'} is read with {flags}\n" in shown
    figure = json.loads((run / "results.json").read_text())["metrics"]["test/mcc"]
    assert f"test/mcc {figure:.3f}: val/mcc has chosen the checkpoint" in shown
    # The run's own file states all of it, and nothing is left to fill in.
    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "best"])
    again = capsys.readouterr().out
    assert "is read with" not in again
    assert f"test/mcc {figure:.4f}" in again


def test_a_monitor_of_the_users_wins(cola: list[str]) -> None:
    main([*cola, "--checkpoint.monitor", "val/acc", "--test_after_fit", "false"])
    config = yaml.safe_load(Path("lightning_logs/lora/version_0/config.yaml").read_text())
    assert config["checkpoint"]["monitor"] == "val/acc"
    assert config["data"]["text_column"] == "sentence"


def test_what_is_printed_of_a_source_by_its_name_is_what_it_stands_for() -> None:
    config = printed_config("fit", "--method", "lora", "--data.source", "glue/stsb", "--checkpoint.monitor", "val/mae")
    pair = (config["data"]["text_column"], config["data"]["text_pair_column"])
    assert pair == ("sentence1", "sentence2")
    assert (config["model"]["problem_type"], config["checkpoint"]["monitor"]) == ("regression", "val/mae")
    assert "problem_type" not in config["data"], "the model's own is for both"


@pytest.mark.slow
def test_a_task_of_glue_is_calibrated_by_its_own_metric_and_its_onnx_model_answers_so(cola: list[str]) -> None:
    pytest.importorskip("onnxruntime", reason="the extra peft-lightning[onnx] is not installed")
    main(
        [*cola, "--calibration.temperature", "true", "--calibration.thresholds", "mcc", "--model.learning_rate", "1e-3"]
    )
    run = Path("lightning_logs/lora/version_0")
    record = RunRecord.read(run / "results.json")
    fitted = record.calibration
    assert fitted is not None
    assert fitted.thresholds is not None
    assert list(fitted.thresholds) == ["acceptable"]
    assert (fitted.thresholds_by, fitted.n_val) == ("mcc", 16)
    # GLUE's test labels are hidden: its validation split tests, and what is fitted on comes out of the training split.
    assert record.dataset is not None
    assert (record.dataset.test_split, record.dataset.val_split) == ("validation", None)
    main(["export", str(run), "--to", "onnx", "--format", "onnx"])
    report = json.loads(Path("onnx/export.json").read_text())
    assert report["proved"]
    assert report["calibration"]["temperature"] == fitted.temperature
    assert json.loads(Path("onnx/config.json").read_text())["decision_thresholds"] == fitted.thresholds
    texts = ["the cat sat", "cat the the sat", "train 1"]
    ours = TextClassifier.load_trained(run).answer(texts)
    answerer = load_answerer(Path("onnx"), "best", torch.device("cpu"))
    served = answerer.answer(answerer.tokenise(texts))
    assert [line["label"] for line in served] == [line["label"] for line in ours]
    for line, theirs in zip(served, ours, strict=True):
        assert list(line["probabilities"].values()) == pytest.approx(list(theirs["probabilities"].values()), abs=1e-4)
