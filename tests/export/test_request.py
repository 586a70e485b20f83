from __future__ import annotations

from typing import Any

import pytest

from peft_lightning.errors import UserError
from peft_lightning.export import request
from peft_lightning.export.request import Request


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"form": "adapter", "quantize": "int8"}, "format='merged'"),
        ({"form": "adapter", "dtype": "bfloat16"}, "dtype is for the weights of a merged model"),
        ({"form": "onnx", "quantize": "nf4"}, "quantize='int8'"),
        ({"form": "onnx", "dtype": "float16"}, "not of onnx"),
        ({"form": "merged", "with_base": True}, "with_base is for an adapter"),
    ],
)
def test_combinations_that_do_not_exist_are_refused_with_the_mend(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Request(**words)


def test_missing_packages_of_onnx_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(
        UserError, match=r"needs onnxruntime, which is not installed: pip install 'peft-lightning\[onnx\]'"
    ):
        Request("onnx")


def test_only_a_lossy_form_may_change_answers() -> None:
    assert Request("adapter").lossy_share == Request("merged").lossy_share == 0
    assert Request("merged", dtype="float32").lossy_share == 0
    assert 0 < Request("merged", dtype="bfloat16").lossy_share < Request("merged", quantize="nf4").lossy_share < 0.05
