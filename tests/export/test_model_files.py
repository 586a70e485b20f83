from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, RobertaConfig

from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources.text_pairs import TextPairs
from peft_lightning.data.truncation import Truncation
from peft_lightning.export.model_files import describe_task, shared_by_windows, write_tokenizer
from peft_lightning.export.replay import Encoder
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.task import Regression, SingleLabel
from tests.data.test_pair_tokens import bert_tokenizer
from tests.methods.tiny_backbones import save_backbone
from tests.task.toy import ToyRegression

TEXTS = ["a joy", "the cast is a bore, said viewer 3, " * 6, "dull " * 11 + "but fine"]


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_texts_are_cut_as_the_run_cut_them(truncation: Truncation, tmp_path: Path) -> None:
    settings = TextSettings("embedded", None, 16, truncation, str(tmp_path / "cache"), "32-true")
    window = write_tokenizer(tmp_path / "out", settings)
    assert (window is None) == (truncation != "head_tail")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.model_max_length == 16
    run = ReviewTokeniser("embedded", None, 16, truncation, str(tmp_path / "cache")).tokenise(TEXTS, np.arange(3))
    encoder = Encoder(tokenizer, None if window is None else list(window), "np")
    for place, text in enumerate(TEXTS):
        assert encoder([text])["input_ids"][0].tolist() == run[place]["input_ids"].tolist()
    together = encoder(TEXTS)
    assert together["input_ids"].shape == (3, 16)
    assert together["attention_mask"].sum(axis=1).tolist() == [len(run[place]["input_ids"]) for place in range(3)]


@pytest.mark.parametrize("stride", [None, 5])
def test_windows_are_those_of_the_run(stride: int | None, tmp_path: Path) -> None:
    settings = TextSettings("embedded", None, 16, "windows", str(tmp_path / "cache"), "32-true", window_stride=stride)
    assert write_tokenizer(tmp_path / "out", settings) is None
    shared = shared_by_windows(tmp_path / "out", settings)
    assert shared == (stride or 3)
    (batch,) = settings.batches(TEXTS, 3)
    made = Encoder(AutoTokenizer.from_pretrained(tmp_path / "out"), None, "np", shared)(TEXTS)
    assert made["input_ids"].tolist() == batch["input_ids"].tolist()
    assert np.bincount(made["overflow_to_sample_mapping"]).tolist() == batch["windows"].tolist()
    assert batch["windows"].tolist()[0] == 1 < max(batch["windows"].tolist())


def test_no_windows_are_shared_where_texts_are_cut(tmp_path: Path) -> None:
    settings = TextSettings("embedded", None, 16, "head", str(tmp_path / "cache"), "32-true")
    assert shared_by_windows(tmp_path, settings) is None


def test_the_configuration_knows_labels_and_problem() -> None:
    config = RobertaConfig()
    describe_task(config, SingleLabel(("bad", "fair", "good")))
    assert config.num_labels == 3
    assert config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert config.label2id is not None
    assert config.label2id["good"] == 2
    assert config.problem_type == "single_label_classification"


def test_a_task_without_labels_has_as_many_as_outputs_and_no_problem_that_transformers_refuses() -> None:
    config = RobertaConfig()
    config.num_labels = 5
    describe_task(config, ToyRegression())
    assert config.num_labels == 1
    assert config.problem_type is None


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_pairs_are_cut_as_the_run_cut_them_whatever_is_kept_of_single_texts(
    truncation: Truncation, tmp_path: Path
) -> None:
    settings = TextSettings("embedded", None, 16, truncation, str(tmp_path / "cache"), "32-true", in_pairs=True)
    assert write_tokenizer(tmp_path / "out", settings) is None
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    pairs = TextPairs(TEXTS, TEXTS[::-1])
    run = settings.tokeniser().tokenise(pairs, np.arange(3))
    together = Encoder(tokenizer, None, "np")([list(pair) for pair in pairs])
    for place in range(3):
        length = len(run[place]["input_ids"])
        assert together["input_ids"][place][:length].tolist() == run[place]["input_ids"].tolist()
        assert together["attention_mask"][place].sum() == length


def test_a_tokenizer_makes_no_token_types_for_a_model_that_refuses_them(tmp_path: Path) -> None:
    for model_type, types in (("distilbert", False), ("bert", True)):
        folder = save_backbone(model_type, tmp_path / model_type)
        bert_tokenizer().save_pretrained(folder)
        settings = TextSettings(str(folder), None, 16, "head", str(tmp_path / "cache"), "32-true")
        write_tokenizer(tmp_path / f"{model_type}_out", settings)
        made = AutoTokenizer.from_pretrained(tmp_path / f"{model_type}_out")("a film")
        assert ("token_type_ids" in made) is types


def test_numbers_keep_their_names_and_a_single_one_is_called_value() -> None:
    config = RobertaConfig()
    describe_task(config, Regression(("stars", "length")))
    assert config.id2label == {0: "stars", 1: "length"}
    assert config.problem_type == "regression"
    describe_task(config, Regression())
    assert (config.num_labels, config.id2label, config.label2id) == (1, {0: "value"}, {"value": 0})
