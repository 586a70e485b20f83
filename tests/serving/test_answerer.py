import json
from pathlib import Path

import pytest
import torch

from peft_lightning.backbone.locations import locate
from peft_lightning.errors import UserError
from peft_lightning.serving.folders import load_answerer

TEXTS = ["a joy of a film", "a bore " * 9, "naïve – but fine"]
CPU = torch.device("cpu")


def exported(folder: Path, adapter: bool) -> list[list[float]]:
    """Saves a model as transformers or PEFT save it, and returns what it answers."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(3)
    base = locate("embedded")
    labels = {0: "schlecht", 1: "großartig", 2: "egal"}
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, id2label=labels).eval()
    model.config.problem_type = "single_label_classification"
    model.config.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.save_pretrained(folder)
    if adapter:
        model = get_peft_model(model, LoraConfig(TaskType.SEQ_CLS, init_lora_weights=False)).eval()
    model.save_pretrained(folder)
    with torch.inference_mode():
        return [model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].tolist() for text in TEXTS]


@pytest.mark.parametrize("adapter", [False, True])
def test_an_export_answers_with_its_own_weights_and_labels(adapter: bool, tmp_path: Path) -> None:
    expected = exported(tmp_path, adapter)
    answerer = load_answerer(tmp_path, "best", CPU)
    answers = answerer.answer(answerer.tokenise(TEXTS))
    for answer, probabilities in zip(answers, expected, strict=True):
        assert list(answer["probabilities"]) == ["schlecht", "großartig", "egal"]
        assert list(answer["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)
    assert answerer.description["method"] == ("lora" if adapter else "merged")


def test_what_could_execute_code_or_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        load_answerer(tmp_path / "nowhere", "best", CPU)
    with pytest.raises(UserError, match=r"no run \(config.yaml\) and no export \(config.json\)"):
        load_answerer(tmp_path, "best", CPU)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"an ONNX model and no config\.json"):
        load_answerer(tmp_path, "best", CPU)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_answerer(tmp_path, "best", CPU)
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match="could execute code, and are not loaded"):
        load_answerer(tmp_path, "best", CPU)


def test_what_an_export_says_of_its_run_decides_how_texts_are_read(tmp_path: Path) -> None:
    exported(tmp_path, adapter=False)
    text = " ".join(f"word{number}" for number in range(400))
    ids = {}
    for kept in (None, "head", "tail", "head_tail"):
        if kept is not None:
            (tmp_path / "export.json").write_text(json.dumps({"truncation": kept, "in_pairs": False}))
        answerer = load_answerer(tmp_path, "best", CPU)
        assert answerer.in_pairs is (None if kept is None else False)
        ids[kept] = answerer.tokenise([text])[0].example["input_ids"].tolist()
    assert ids[None] == ids["head"]
    assert ids["head"][:50] == ids["head_tail"][:50] != ids["tail"][:50]
    assert ids["tail"][-50:] == ids["head_tail"][-50:] != ids["head"][-50:]

    (tmp_path / "export.json").write_text(json.dumps({"truncation": "head", "in_pairs": True}))
    answerer = load_answerer(tmp_path, "best", CPU)
    assert answerer.in_pairs is True
    (pair,) = answerer.tokenise([("a joy", "a bore")])
    assert len(pair) == sum(len(tokens) for tokens in answerer.tokenise(["a joy", "a bore"]))


def test_an_adapter_finds_the_backbone_that_lies_beside_it(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    expected = exported(tmp_path, adapter=True)
    AutoModelForSequenceClassification.from_pretrained(locate("embedded"), num_labels=3).save_pretrained(
        tmp_path / "base"
    )
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "base"
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    answerer = load_answerer(tmp_path, "best", CPU)
    (answer,) = answerer.answer(answerer.tokenise(TEXTS[:1]))
    assert list(answer["probabilities"].values()) == pytest.approx(expected[0], abs=1e-5)


def test_an_onnx_model_is_computed_on_the_cpu_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match="is computed on the CPU: use device='cpu'"):
        load_answerer(tmp_path, "best", torch.device("cuda"))
