"""Long texts in windows, from `fit` to `serve`: one answer a text, the mean over all that it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.serving.folders import load_answerer
from tests.commands.test_predict import lines_of
from tests.integration.offline_run import checkpoint, only_run, record, run

# 10 tokens of a text in a window, of which the next one has 4 too; three windows at once, however many a text has.
IN_WINDOWS = ("--data.truncation", "windows", "--data.max_length", "12", "--data.window_stride", "4")
FEW = ("--data.eval_batch_size", "3", "--model.learning_rate", "1e-2")
LONG = ["a joy" + " indeed" * 30, "dull", "the cast is a bore, said viewer 3", "I left" + " before the end" * 9]


@pytest.fixture
def in_windows(tiny_fit: list[str], trained_once: Callable[..., None]) -> Path:
    """The directory of a run that reads its test in windows."""
    trained_once(*IN_WINDOWS, *FEW)
    return only_run(Path())


def by_hand(trained: Path, texts: list[str]) -> torch.Tensor:
    """The probabilities of the last class: the mean over windows that the tokenizer itself makes."""
    model, tokenizer = TextClassifier.load_trained(trained), load_tokenizer("embedded")
    found = []
    for text in texts:
        words = {"truncation": True, "max_length": 12, "stride": 4, "return_overflowing_tokens": True}
        windows = tokenizer(text, **words)["input_ids"]
        with torch.inference_mode():
            logits = [model({"input_ids": torch.tensor([window])})[0] for window in windows]
        found.append(torch.stack(logits).mean(dim=0).softmax(-1)[1])
    return torch.stack(found)


def test_a_test_has_one_row_a_text_with_the_mean_of_its_windows(in_windows: Path, reviews: Path) -> None:
    rows = pq.read_table(in_windows / "predictions.parquet").to_pydict()
    assert len(set(rows["index"])) == len(rows["index"]) == record(in_windows)["dataset"]["n_test"] == 16
    assert record(in_windows)["dataset"]["windows"] > 32
    # One validation and one test, whose time is forecast by their windows.
    assert record(in_windows)["time"]["eval_rows"] == record(in_windows)["dataset"]["windows"]
    lines = [json.loads(line) for line in (reviews / "test.jsonl").read_text().splitlines()]
    expected = by_hand(in_windows, [lines[row]["text"] for row in rows["index"]])
    assert rows["probability_1"] == pytest.approx(expected.tolist(), abs=1e-5)
    right = [label == prediction for label, prediction in zip(rows["label"], rows["prediction"], strict=True)]
    assert record(in_windows)["metrics"]["test/acc"] == pytest.approx(sum(right) / 16)


@pytest.mark.slow
def test_training_takes_the_steps_that_it_takes_of_heads(in_windows: Path, tiny_fit: list[str], tmp_path: Path) -> None:
    root = ("--trainer.default_root_dir", str(tmp_path / "head"))
    main([*tiny_fit, "--data.truncation", "head", "--data.max_length", "12", *FEW, *root])
    ours, heads = (checkpoint(folder / "checkpoints/last.ckpt") for folder in (in_windows, only_run(tmp_path / "head")))
    assert all(torch.equal(ours["state_dict"][name], heads["state_dict"][name]) for name in heads["state_dict"])


@pytest.mark.slow
def test_texts_that_fit_have_the_answers_of_a_run_without_windows_to_the_bit(
    tiny_fit: list[str], trained_once: Callable[..., None]
) -> None:
    trained_once("--model.learning_rate", "1e-2")
    finished = only_run(Path())
    main(["test", "--config", str(finished / "config.yaml"), "--ckpt_path", "best", "--data.truncation", "windows"])
    whole = pq.read_table(finished / "predictions.parquet")
    assert pq.read_table(finished / "test_0/predictions.parquet").equals(whole)
    assert json.loads((finished / "test_0/metrics.json").read_text())["dataset"]["windows"] == 32


def test_predict_answer_and_serve_read_all_of_a_text(in_windows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("reviews.txt").write_text("\n".join(LONG) + "\n", encoding="utf-8")
    words = ["--config", str(in_windows / "config.yaml"), "--ckpt_path", "best", "--data.predict_file", "reviews.txt"]
    capsys.readouterr()
    main(["predict", *words])
    told = lines_of(capsys.readouterr().out)
    expected = by_hand(in_windows, LONG).tolist()
    assert [line["probabilities"]["1"] for line in told] == pytest.approx(expected, abs=1e-5)
    answered = TextClassifier.load_trained(in_windows).answer(LONG, batch_size=2)
    assert [line["probabilities"]["1"] for line in answered] == pytest.approx(expected, abs=1e-5)
    answerer = load_answerer(in_windows, "best", torch.device("cpu"))
    served = answerer.answer(answerer.tokenise(LONG))
    assert [line["probabilities"]["1"] for line in served] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_two_processes_answer_every_text_once_as_one_does(in_windows: Path) -> None:
    words = ["--config", str(in_windows / "config.yaml"), "--ckpt_path", "best", "--trainer.devices", "2"]
    done = run(["test", *words], Path.cwd(), timeout_s=240)
    assert done.code == 0, done.err
    two, one = (pq.read_table(folder / "predictions.parquet") for folder in (in_windows / "test_0", in_windows))
    assert two["index"].equals(one["index"])
    assert two["probability_1"].to_pylist() == pytest.approx(one["probability_1"].to_pylist(), abs=1e-5)
    measured = json.loads((in_windows / "test_0/metrics.json").read_text())["metrics"]
    figures = record(in_windows)["metrics"]
    assert measured == pytest.approx({name: figures[name] for name in measured}, abs=1e-5)


@pytest.mark.slow
def test_an_export_is_proved_by_the_tokenizers_own_windows(in_windows: Path) -> None:
    main(["export", str(in_windows), "--to", "mine"])
    report = json.loads(Path("mine/export.json").read_text())
    assert report["proved"] is True
    assert report["greatest_change"] < 1e-5
    assert report["plain_cut"]["longer_texts"] > 0
    card = Path("mine/README.md").read_text()
    assert "stride=4" in card
    assert "return_overflowing_tokens=True" in card
    # The export itself, served.
    answerer = load_answerer(Path("mine"), "best", torch.device("cpu"))
    served = answerer.answer(answerer.tokenise(LONG))
    expected = by_hand(in_windows, LONG).tolist()
    assert [line["probabilities"]["1"] for line in served] == pytest.approx(expected, abs=1e-5)
