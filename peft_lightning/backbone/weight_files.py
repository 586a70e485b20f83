"""The files that hold a backbone's weights."""

from __future__ import annotations

import json
from pathlib import Path

from peft_lightning.errors import UserError

_IN_ORDER_OF_PREFERENCE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What others leave in a model's folder; transformers 5 reads weights from none of these.
_OTHER_FORMATS = ("*.h5", "*.msgpack", "*.gguf", "*.onnx", "*.ckpt", "*.pt", "*.pth")
_LFS_POINTER = b"version https://git-lfs"


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that ``from_pretrained`` reads weights from.

    Args:
        folder: A folder laid out as transformers saves a model.

    Returns:
        One file, or all shards in the order of their names; empty where there are no weights.

    Raises:
        UserError: The index of the shards is damaged.
    """
    for name in _IN_ORDER_OF_PREFERENCE:
        file = folder / name
        if not file.is_file():
            continue
        if not name.endswith(".index.json"):
            return [file]
        try:
            shards = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
            return [folder / shard for shard in sorted(shards)]
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(f"{file} is damaged and names no shards: restore it, or save the model again") from error
    return []


def require_weights(folder: Path, name_or_path: str) -> None:
    """Checks that a folder holds all files of a model's weights.

    Args:
        folder: The folder.
        name_or_path: The backbone's name as the user wrote it.

    Raises:
        UserError: A file is missing, or stands for weights that were not fetched.
    """
    files = weight_files(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        others = f" (nor are {len(missing) - 1} others of {len(files)})" if len(missing) > 1 else ""
        raise UserError(
            f"{name_or_path} holds no weights that are whole: {missing[0]} is not there{others}: fetch the model again"
        )
    if not files:
        other = next((file.name for pattern in _OTHER_FORMATS for file in sorted(folder.glob(pattern))), None)
        instead = f", and {other} is of another format: convert it, or fetch the model's safetensors" if other else ""
        raise UserError(
            f"{name_or_path} holds no weights: model.safetensors or pytorch_model.bin is not there{instead}"
        )
    for file in files:
        with file.open("rb") as stream:
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise UserError(
                    f"{name_or_path} holds no weights: {file.name} only points to them; fetch them with git lfs pull"
                )
