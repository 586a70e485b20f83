"""Captured steps of every task and loss are the steps: on a GPU for real, on a CPU by a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.data.test_pair_tokens import bert_tokenizer
from tests.engine.captured_runs import curve, trained, uncaptured
from tests.methods.tiny_backbones import save_backbone
from tests.task.test_every_task import TASKS, rewritten

pytestmark = pytest.mark.slow

PARTS = ("--trainer.accumulate_grad_batches", "3")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("pairs", ()),
        ("pairs", ("--model.class_weights", "balanced", "--model.focal_gamma", "2", *PARTS)),
        ("multi_label_classification", PARTS),
        ("several numbers", ("--model.huber_delta", "10")),
    ],
)
def test_captured_steps_of_every_task_are_the_steps(
    name: str, more: tuple[str, ...], graphs: list[str], words: list[str], reviews: Path, tmp_path: Path
) -> None:
    change, settings = TASKS[name]
    rewritten(reviews, change)
    if name == "pairs":
        # A model with token types, which are a further tensor of a batch.
        folder = save_backbone("bert", tmp_path / "bert")
        bert_tokenizer().save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
        (folder / "config.json").write_text(json.dumps(config))
        words = [*words, "--model.model_name_or_path", str(folder)]
    every = [*settings, "--checkpoint.monitor", "val/loss", *more]
    plain, _ = trained(words, tmp_path / "plain", *uncaptured(graphs), *every)
    captured, run = trained(words, tmp_path / "captured", *graphs, *every)
    assert run["engine"]["name"] == "graph"
    assert captured["global_step"] == plain["global_step"]
    for weight, values in plain["state_dict"].items():
        assert torch.allclose(values.float(), captured["state_dict"][weight].float(), atol=2e-5), weight
    expected = curve(tmp_path / "plain", "train/loss")
    assert curve(tmp_path / "captured", "train/loss") == pytest.approx(expected, rel=1e-3)
