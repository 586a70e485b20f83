"""python -m side_by_side.random_decoder SHAPE FOLDER: draws a decoder's weights at random, in bf16 and in shards.

It is a process of its own, so that nothing of 7 billion weights is left where the others are started from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# As those on the hub are cut.
_SHARD = "4GB"
_COMPLETE = "complete"


def draw(shape: Path, folder: Path) -> None:
    """Draws the weights and writes them.

    Args:
        shape: a folder with `config.json` and the tokenizer's files.
        folder: where the decoder goes.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(shape), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size=_SHARD)
    for path in shape.iterdir():
        if path.suffix in (".json", ".txt", ".model") and path.name != "config.json":
            shutil.copy(path, folder)


def make_decoder(shape: Path, folder: Path) -> Path:
    """Draws a decoder in a process of its own; one that is already whole is left as it is.

    Args:
        shape: a folder with `config.json` and the tokenizer's files.
        folder: where the decoder goes.

    Returns:
        The decoder's folder.
    """
    if not (folder / _COMPLETE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        here = Path(__file__).resolve()
        paths = [str(here.parents[1]), str(here.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "side_by_side.random_decoder", str(shape), str(folder)]
        subprocess.run(command, env=environment, check=True)
        (folder / _COMPLETE).touch()
    return folder


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
