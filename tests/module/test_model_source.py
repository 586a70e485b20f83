"""What a module's model is made of, and what happens before it is made."""

from typing import Any

import pytest

from peft_lightning.backbone.loading import Backbone
from tests.module.test_classifier import built


@pytest.mark.parametrize(("dtype", "spares"), [("float32", False), ("bfloat16", False), ("smallest", True)])
def test_memory_is_spared_before_the_smallest_backbone_is_loaded(
    dtype: str, spares: bool, still_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    load = Backbone.load
    monkeypatch.setattr("peft_lightning.module.model_source.spare_memory", lambda: calls.append("spare"))

    def counted(self: Backbone, *args: Any, **more: Any) -> Any:
        calls.append("load")
        return load(self, *args, **more)

    monkeypatch.setattr(Backbone, "load", counted)
    built(still_backbone, backbone_dtype=dtype)
    assert calls == (["spare", "load"] if spares else ["load"])
