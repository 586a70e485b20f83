from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peft_lightning.model.backbones import Backbone
from tests.methods.tiny_backbones import save_backbone


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Backbone]:
    saved: dict[str, Path] = {}

    def backbone(model_type: str = "roberta") -> Backbone:
        if model_type not in saved:
            saved[model_type] = save_backbone(model_type, tmp_path_factory.mktemp(model_type))
        return Backbone(str(saved[model_type]))

    return backbone
