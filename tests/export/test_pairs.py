"""Runs on pairs of texts: exported in every form, proved, loaded by a plain script, and served."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.data.sources.text_pairs import Pair
from peft_lightning.export.exporting import finish, read_run, write
from peft_lightning.export.proof import prove
from peft_lightning.export.request import Request
from peft_lightning.export.saved_answers import SavedAnswers, read_saved_answers
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.serving.folders import load_answerer
from tests.data.test_pair_tokens import bert_tokenizer
from tests.export.test_exporting import as_a_user
from tests.export.test_exporting import without_us as without_us
from tests.integration.offline_run import only_run
from tests.methods.tiny_backbones import save_backbone

pytestmark = pytest.mark.slow
FORMS = {
    "adapter": Request("adapter", with_base=True),
    "merged": Request("merged"),
    "onnx": Request("onnx"),
    "onnx_int8": Request("onnx", quantize="int8"),
}


@pytest.fixture
def run(tiny_fit: list[str], reviews: Path, tmp_path: Path) -> Path:
    """A run of LoRA on pairs, of a BERT whose token types matter; its longer pairs are cut."""
    for path in reviews.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            row["other"] = "the plot was slow " * (number % 6 + 1)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    backbone = save_backbone("bert", tmp_path / "backbone")
    _tell_types_apart(backbone)
    bert_tokenizer().save_pretrained(backbone)
    main(
        [
            *(*tiny_fit, "--model.model_name_or_path", str(backbone), "--data.text_pair_column", "other"),
            *("--data.max_length", "24", "--model.learning_rate", "1e-2", "--model.class_names", "[bad, good]"),
        ]
    )
    return only_run(Path())


def _tell_types_apart(backbone: Path) -> None:
    """Makes random weights larger: at their usual size the first token hardly sees the others."""
    from safetensors.torch import load_file, save_file

    weights = {
        name: value * (8 if value.dim() > 1 else 1) for name, value in load_file(backbone / "model.safetensors").items()
    }
    save_file(weights, backbone / "model.safetensors", metadata={"format": "pt"})


def saved_of(run: Path) -> SavedAnswers:
    record, config = read_run(run)
    return read_saved_answers(run, record, config)


def test_every_form_gives_the_runs_answers_to_its_pairs_and_so_do_its_server_and_a_plain_script(
    run: Path, without_us: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra peft-lightning[onnx] is not installed")
    record, config = read_run(run)
    saved = saved_of(run)
    assert {len(pair) for pair in saved.texts} == {2}
    exports = []
    for form, request in FORMS.items():
        Path(form).mkdir()
        exports.append((write(run, Path(form), request), saved))
    with TemporaryDirectory() as scratch:
        proofs = prove(exports, Path(scratch))
    ours = load_answerer(run, "best", torch.device("cpu"))
    expected = TextClassifier.load_trained(run).answer(saved.texts)
    pairs = cast("list[Pair]", saved.texts)
    assert ours.answer(ours.tokenise(pairs)) == expected
    for (written, _), proof in zip(exports, proofs, strict=True):
        form = written.folder.name
        report = finish(written, proof, record, config, form, on_hub=False)
        assert report["failure"] is None
        assert report["in_pairs"] is True
        far = 2e-2 if form == "onnx_int8" else 1e-5
        assert report["greatest_change"] < far
        answerer = load_answerer(Path(form), "best", torch.device("cpu"))
        assert answerer.in_pairs is True
        answers = answerer.answer(answerer.tokenise(pairs))
        moved = np.abs(_probabilities(answers) - _probabilities(expected)).max()
        assert moved < far
    card = Path("merged/README.md")
    assert "It reads pairs of texts. It tells apart bad, good." in card.read_text()
    assert as_a_user(without_us, card, saved.texts, Path.cwd()) == [answer["label"] for answer in expected]


def _probabilities(answers: list[dict[str, dict[str, float]]]) -> np.ndarray:
    return np.array([list(answer["probabilities"].values()) for answer in answers])


def test_types_of_tokens_decide_and_are_not_lost(run: Path) -> None:
    """Without this the proof of a form that has lost the types could pass as well."""
    answerer = load_answerer(run, "best", torch.device("cpu"))
    (tokens,) = answerer.tokenise([("the plot was slow", "a good film")])
    assert "second" in tokens.example
    with_types = answerer.answer([tokens])
    del tokens.example["second"]
    assert abs(_probabilities(with_types) - _probabilities(answerer.answer([tokens]))).max() > 1e-3
