from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.backbone.half_width import BackboneDtype
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.precision import compute_dtype
from tests.methods.tiny_backbones import save_backbone

PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "smallest": "bf16-mixed"}


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Backbone]:
    saved: dict[str, Path] = {}

    def backbone(model_type: str = "roberta", width: int | None = None, dtype: BackboneDtype = "float32") -> Backbone:
        key = f"{model_type}-{width}"
        if key not in saved:
            saved[key] = save_backbone(model_type, tmp_path_factory.mktemp(key), width)
        return Backbone(str(saved[key]), dtype=dtype, compute_dtype=compute_dtype(PRECISION[dtype]))

    return backbone
