import json

import pytest

from tests.methods.tiny_backbones import save_backbone


@pytest.fixture(scope="session")
def still_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny RoBERTa without dropout: training computes what evaluation computes."""
    folder = save_backbone("roberta", tmp_path_factory.mktemp("still"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)
