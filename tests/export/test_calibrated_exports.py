"""An export of a calibrated run gives calibrated probabilities in plain libraries, and says how to decide by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.errors import UserError
from peft_lightning.export import exporting
from peft_lightning.export.exporting import export
from peft_lightning.export.request import Request
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.record import RunRecord
from peft_lightning.serving.folders import load_answerer
from tests.export.conftest import Trained

SETTINGS = ("--model.learning_rate", "1e-3", "--data.n_val", "32")
BOTH = ("--calibration.temperature", "true", "--calibration.thresholds", "mcc")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_the_temperature_is_in_the_head_and_thresholds_are_stated(form: Any, trained: Trained, tmp_path: Path) -> None:
    run = trained(*SETTINGS, *BOTH)
    fitted = RunRecord.read(run / "results.json").calibration
    assert fitted is not None
    assert fitted.temperature not in (None, 1.0)
    report = export(run, tmp_path / "out", Request(form))
    assert report["proved"]
    assert report["calibration"]["temperature"] == fitted.temperature
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["decision_thresholds"] == fitted.thresholds
    assert config["folded_temperature"] == fitted.temperature
    card = (tmp_path / "out/README.md").read_text()
    assert "## Calibration" in card
    assert "nobody has calibrated them" not in card
    assert f"The temperature is {fitted.temperature:.4g}" in card

    texts = ["a warm and funny film", "the cast is a bore", "said viewer"]
    ours = TextClassifier.load_trained(run).answer(texts)
    names: dict[str, Any] = {}
    exec("\n".join(report["load"]).replace("FOLDER", str(tmp_path / "out")), names)
    inputs = names["tokenizer"](texts, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        shares = names["model"].eval()(**inputs).logits.softmax(dim=-1)
    for line, theirs in zip(ours, shares.tolist(), strict=True):
        assert list(line["probabilities"].values()) == pytest.approx(theirs, abs=1e-4)
    if form == "merged":
        answerer = load_answerer(tmp_path / "out", "best", torch.device("cpu"))
        served = answerer.answer(answerer.tokenise(texts))
        assert [line["label"] for line in served] == [line["label"] for line in ours]
        assert answerer.task.named_thresholds() == fitted.thresholds


@pytest.mark.slow
def test_an_export_whose_head_lacks_the_temperature_is_not_proved(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(*SETTINGS, *BOTH)
    monkeypatch.setattr(exporting, "divide_head", lambda *_: None)
    with pytest.raises(UserError, match="the export is not proved"):
        export(run, tmp_path / "out", Request("merged"))
