"""A head that is new starts near the labels' mean, and a model's configuration says what its outputs are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from peft_lightning.backbone.heads import name_outputs, start_head
from peft_lightning.backbone.loading import Backbone
from tests.methods.tiny_backbones import batch, save_backbone


@pytest.mark.parametrize("model_type", ["roberta", "bert", "distilbert"])
def test_a_new_head_answers_about_the_mean_with_a_part_of_the_spread(model_type: str, tmp_path: Path) -> None:
    folder = save_backbone(model_type, tmp_path / "backbone")
    torch.manual_seed(0)
    plain = Backbone(str(folder)).load(2).eval()
    torch.manual_seed(0)
    started = Backbone(str(folder)).load(2).eval()
    start_head(started, (50.0, -3.0), (20.0, 0.1))
    with torch.no_grad():
        given, found = plain(**batch()).logits, started(**batch()).logits
    # As if the labels had mean 0 and spread 1.
    assert torch.allclose(found, given * torch.tensor([20.0, 0.1]) + torch.tensor([50.0, -3.0]), atol=1e-4)


def test_a_head_that_was_trained_stays_and_its_outputs_are_named(tmp_path: Path) -> None:
    folder = save_backbone("bert", tmp_path / "backbone")
    trained = Backbone(str(folder)).load(3)
    name_outputs(trained, "regression", ("x", "y", "z"))
    trained.save_pretrained(tmp_path / "trained")
    again = Backbone(str(tmp_path / "trained")).load(3)
    start_head(again, (1.0, 1.0, 1.0), (9.0, 9.0, 9.0))
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trained")
    assert theirs.config.problem_type == "regression"
    assert theirs.config.id2label == {0: "x", 1: "y", 2: "z"}
    name_outputs(again, "toy_regression", ("value",))
    assert again.config.problem_type is None
