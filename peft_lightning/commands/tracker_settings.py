"""Gives loggers that need a folder the run's own: ``--trainer.logger CSVLogger`` is enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from peft_lightning.recipes import Config
from peft_lightning.runs.trackers import RUN_DIR

# Where each writes in the run's directory, in the arguments of Lightning's loggers.
FOLDERS = {
    "CSVLogger": {"save_dir": RUN_DIR, "name": "", "version": "csv"},
    "TensorBoardLogger": {"save_dir": RUN_DIR, "name": "", "version": "tensorboard"},
}
_FLAG = "--trainer.logger"


def with_folders(config: Mapping[str, Any]) -> Config:
    """Returns a configuration in which such loggers have the run's directory.

    Args:
        config: The merged files.
    """
    trainer = config.get("trainer")
    if not isinstance(trainer, Mapping) or "logger" not in trainer:
        return dict(config)
    logger = trainer["logger"]
    placed = [_placed(node) for node in logger] if isinstance(logger, list) else _placed(logger)
    return {**config, "trainer": {**trainer, "logger": placed}}


def flags_with_folders(words: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Returns a command line in which such loggers have the run's directory.

    Args:
        words: The command line without its files.
        config: What ``with_folders`` returned of the files. A logger that they name keeps its folder, since a flag with
            its class keeps its arguments.
    """
    trainer = config.get("trainer")
    node = trainer.get("logger") if isinstance(trainer, Mapping) else None
    return list(_flags(list(words), _title(node.get("class_path")) if isinstance(node, Mapping) else ""))


def _placed(node: Any) -> Any:
    if isinstance(node, str):
        arguments = FOLDERS.get(_title(node))
        return node if arguments is None else {"class_path": node, "init_args": dict(arguments)}
    if not isinstance(node, Mapping) or _title(node.get("class_path")) not in FOLDERS:
        return node
    own = node.get("init_args") or {}
    if not isinstance(own, Mapping) or "save_dir" in own:
        return node
    return {**node, "init_args": {**FOLDERS[_title(node["class_path"])], **own}}


def _flags(words: list[str], placed: str) -> Iterator[str]:
    for number, word in enumerate(words):
        yield word
        before = words[number - 1] if number else ""
        name, equals, value = word.partition("=")
        names = (_FLAG, f"{_FLAG}+", f"{_FLAG}.class_path")
        if name not in names:
            # `--trainer.logger CSVLogger` and `--trainer.logger+ CSVLogger` are two words.
            value = word if before in names else ""
        elif not equals:
            continue
        title, own = _written(value)
        appended = f"{_FLAG}+" in (name, before)
        if title == placed and not appended:
            continue
        if title in FOLDERS and "save_dir" not in own and not _has_folder(words[number + 1 :]):
            for argument, default in FOLDERS[title].items():
                if argument not in own:
                    yield f"{_FLAG}.{argument}={default}"


def _written(value: str) -> tuple[str, Mapping[str, Any]]:
    """Returns the class that a flag's value names, as a word or in braces, and the arguments stated with it."""
    if value.startswith("{"):
        try:
            node = yaml.safe_load(value)
        except yaml.YAMLError:  # the parser says so
            return "", {}
        own = node.get("init_args") if isinstance(node, Mapping) else None
        return _title(node.get("class_path") if isinstance(node, Mapping) else None), own if own is not None else {}
    return _title(value), {}


def _has_folder(words: Sequence[str]) -> bool:
    """Tells whether flags state the folder of the logger before them."""
    for word in words:
        if word.partition("=")[0] in (_FLAG, f"{_FLAG}+", f"{_FLAG}.class_path"):
            return False
        if word.partition("=")[0] in (f"{_FLAG}.save_dir", f"{_FLAG}.init_args.save_dir"):
            return True
    return False


def _title(path: object) -> str:
    return str(path).rpartition(".")[2]
