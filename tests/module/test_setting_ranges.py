"""Which settings of the model are refused, in a line that names them."""

import math
from typing import Any

import pytest

from peft_lightning.errors import UserError
from peft_lightning.methods import LoRA
from peft_lightning.module.classifier import TextClassifier


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"weight_decay": -0.1},
        {"warmup_ratio": 1.0},
        {"label_smoothing": 1.0},
        {"adam_beta2": 1.0},
        {"focal_gamma": math.inf},
        {"huber_delta": 0.0},
    ],
)
def test_a_setting_out_of_its_range_is_named(wrong: dict[str, Any]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(UserError, match=rf"model\.{name} is {value}: it must be"):
        TextClassifier(LoRA(), **wrong)


def test_a_name_for_two_classes_is_named() -> None:
    with pytest.raises(UserError, match="class_names names a class twice: good, good"):
        TextClassifier(LoRA(), class_names=["good", "good"])
