"""Recipe files: where they are found, and how several of them make one configuration.

jsonargparse keeps the ``init_args`` of a class when a later file or flag names another class, as far as their names
fit: LoRA's ``target_modules`` would silently become IA³'s. Here files are merged before they are parsed, and a
change of class starts from an empty set of arguments.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.errors import UserError
from peft_lightning.runs.progress import VARIABLE

Config = dict[str, Any]
OFFLINE = "configs/offline.yaml"


def offline_overlay() -> str:
    """The option that does without downloads: a comparison, which starts its runs itself, has another one."""
    return f"--overlay {OFFLINE}" if VARIABLE in os.environ else f"--config {OFFLINE}"


def find_config(name: str) -> Path:
    """Returns the file that a ``--config`` means: on disk, or else among the recipes that the package carries.

    Args:
        name: A path; ``configs/NAME.yaml`` is also looked for in the installed package.

    Raises:
        UserError: If there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"--config {name} is a folder: name a file, such as {name.rstrip('/')}/config.yaml")
    parts = path.parts
    if parts and parts[0] == "configs":
        for root in _packaged_configs():
            candidate = root.joinpath(*parts[1:])
            if candidate.is_file():
                return candidate
    known = _configs_below(_packaged_configs())
    raise UserError(f"--config {name}: no such file; the recipes that come with the package are {', '.join(known)}")


def find_recipe(name: str) -> str:
    """Returns the file of the recipe of a name, ``configs/NAME.yaml``.

    Args:
        name: A name such as ``lora``, or with a folder, ``study/lora``.

    Raises:
        UserError: If there is none; overlays are none.
    """
    if not _names_method(f"configs/{name}.yaml"):
        files = _configs_below([Path("configs"), *_packaged_configs()])
        names = [file.removeprefix("configs/").removesuffix(".yaml") for file in files if _names_method(file)]
        raise UserError(f"no recipe is called {name}: there are {', '.join(names)}")
    return f"configs/{name}.yaml"


def method_of(settings: Mapping[str, Any]) -> Any:
    """Returns what a configuration says of the method: nothing in an overlay, a class in a recipe.

    Args:
        settings: The configuration.
    """
    model = settings.get("model")
    return model.get("method") if isinstance(model, Mapping) else None


def _names_method(file: str) -> bool:
    try:
        return bool(method_of(read_config(find_config(file))))
    except UserError:  # not there, or a file in the user's own folder that is none of ours
        return False


def _configs_below(roots: Iterable[Path]) -> list[str]:
    return sorted({f"configs/{file.relative_to(root)}" for root in roots for file in root.rglob("*.yaml")})


def _packaged_configs() -> list[Path]:
    package = Path(str(resources.files("peft_lightning")))
    return [root for root in (package / "configs", package.parent / "configs") if root.is_dir()]


def read_config(path: Path) -> Config:
    """Reads one YAML file of settings.

    Args:
        path: The file.

    Raises:
        UserError: If it is not UTF-8, not YAML or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a YAML file: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: a recipe is a mapping such as `data: {{n_train: 3000}}`")
    return content


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Config:
    """Lays an overlay's differences over a configuration; another ``class_path`` replaces the whole node.

    Args:
        base: The configuration so far; left as it is.
        overlay: The differences.
    """
    merged: Config = dict(base)
    for key, value in overlay.items():
        current = merged.get(key)
        if (
            isinstance(current, Mapping)
            and isinstance(value, Mapping)
            and not _changes_class(current, value.get("class_path"))
        ):
            merged[key] = merge(current, value)
        elif isinstance(value, str) and _changes_class(current, value):
            merged[key] = {"class_path": value}
        elif isinstance(value, str) and isinstance(current, Mapping) and "class_path" in current:
            merged[key] = dict(current)
        else:
            merged[key] = value
    return merged


def _changes_class(node: object, class_path: object) -> bool:
    """Tells whether a node with a class would get another one; a short name is the end of a dotted path."""
    if not isinstance(node, Mapping) or "class_path" not in node or not isinstance(class_path, str):
        return False
    return str(node["class_path"]).rsplit(".", 1)[-1] != class_path.rsplit(".", 1)[-1]


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """Takes the ``--config`` options out of a command line.

    Args:
        words: The words after the command's name.

    Returns:
        The files named, in order, and the words that are left.

    Raises:
        UserError: If a ``--config`` names nothing.
    """
    files: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in ("--config", "-c"):
            name = next(remaining, None)
            if name is None:
                raise UserError("--config names no file: say --config configs/qlora.yaml")
            files.append(name)
        elif word.startswith("--config="):
            files.append(word.removeprefix("--config="))
        else:
            rest.append(word)
    return files, rest


def read_flags(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Reads ``--name value``, ``--name=value`` and a bare ``--name``.

    Args:
        words: A command line without its ``--config`` options.

    Yields:
        ``--name`` and its value, None where it has none; a word that belongs to no flag comes as it is.
    """
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            yield word, None
        elif equals:
            yield name, value
        elif remaining and not remaining[0].startswith("--"):
            yield name, remaining.pop(0)
        else:
            yield name, None


def class_flags(words: Sequence[str]) -> Config:
    """Finds the flags that choose a class, ``--model.method=IA3``, so that the class can be laid over the files.

    Args:
        words: A command line without its ``--config`` options.

    Returns:
        The choices as an overlay.
    """
    overlay: Config = {}
    for name, value in read_flags(words):
        if name in ("--model.method", "--model.method.class_path") and value and not value.startswith(("-", "{")):
            overlay = {"model": {"method": {"class_path": value}}}
    return overlay
