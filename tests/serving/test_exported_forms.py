"""Exports of a run in every number of bits, loaded as `serve` loads them, beside the run itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from peft_lightning.export.exporting import finish, read_run, write
from peft_lightning.export.proof import prove
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import read_saved_answers
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.serving.folders import load_answerer
from tests.integration.offline_run import only_run

pytestmark = pytest.mark.slow
# A form, and how far a probability may be from the run's.
FORMS = {
    "adapter": (Request("adapter"), 1e-5),
    "merged": (Request("merged"), 1e-5),
    "bfloat16": (Request("merged", dtype="bfloat16"), 2e-2),
    "int8": (Request("merged", quantize="int8"), 2e-2),
    "nf4": (Request("merged", quantize="nf4"), 1e-1),
}


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))],
)
def test_a_server_of_any_form_answers_long_texts_as_its_qlora_run(
    device: str, tiny_fit: list[str], trained_once: Callable[..., None], tmp_path: Path
) -> None:
    trained_once(
        *("--config", "configs/qlora.yaml", "--config", "configs/offline.yaml", "--model.learning_rate", "1e-2"),
        *("--data.max_length", "12", "--data.truncation", "head_tail", "--model.class_names", "[bad, good]"),
    )
    run = only_run(Path())
    record, config = read_run(run)
    saved = read_saved_answers(run, record, config)
    exports = []
    for form, (request, _) in FORMS.items():
        (tmp_path / form).mkdir()
        exports.append((write(run, tmp_path / form, request), saved))
    proofs = prove(exports, tmp_path)
    expected = shares(TextClassifier.load_trained(run).answer(saved.texts))
    for (written, _), proof in zip(exports, proofs, strict=True):
        form = written.folder.name
        assert finish(written, proof, record, config, form, on_hub=False)["failure"] is None, form
        answerer = load_answerer(written.folder, "best", torch.device(device))
        assert answerer.device.type == device
        answers = answerer.answer(answerer.tokenise(cast("list[str]", saved.texts)))
        assert {answer["label"] for answer in answers} <= {"bad", "good"}
        # Where there is a GPU, the run answers there: 3.4e-4 from a CPU's answers, on an H200.
        far = max(1e-3, FORMS[form][1]) if torch.cuda.is_available() else FORMS[form][1]
        assert np.abs(shares(answers) - expected).max() < far, form


def shares(answers: list[dict[str, dict[str, float]]]) -> np.ndarray:
    """The probabilities, (answers, classes)."""
    return np.array([list(answer["probabilities"].values()) for answer in answers])
