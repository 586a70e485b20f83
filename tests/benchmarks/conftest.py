import json
from pathlib import Path

import pytest

from peft_lightning.backbone.locations import locate


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """A folder as `--shape` wants it: a small RoBERTa's configuration and a tokenizer, no weights."""
    folder = tmp_path / "shape"
    folder.mkdir()
    embedded = Path(locate("embedded"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((embedded / name).read_bytes())
    config = json.loads((embedded / "config.json").read_text())
    config |= {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def decoder_shape(tmp_path: Path) -> Path:
    """A folder as `--shape` wants it: a small Qwen2's configuration and a tokenizer, no weights."""
    from side_by_side.shapes import SHAPES, write_shape

    folder = write_shape(SHAPES[0], tmp_path / "decoder_shape")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    config |= {"num_hidden_layers": 2, "layer_types": config["layer_types"][:2], "vocab_size": 8192}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
