"""Recipe files: finds them and merges several into one configuration.

When a later file or flag names another class, jsonargparse keeps those ``init_args`` whose names the new class also
has: LoRA's ``target_modules`` would silently become IA³'s. Here files are merged before they are parsed, and another
class starts without arguments. So does another type of PEFT.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.errors import Setting, UserError

Config = dict[str, Any]
SECTIONS = ("model", "data", "trainer", "checkpoint", "early_stopping", "calibration")
# Folders below configs/ that were renamed after 0.1.0.
RENAMED = {"tuned": "tuned_on_embedded"}
# Beyond so many brackets and dashes a file is not read by libyaml.
_DEEPEST = 2000
# Below configs/, where a recipe that is named by one word is looked for: the first that has it wins.
_FOLDERS = ("", "peft/")


def find_config(name: str) -> Path:
    """Finds the file that a ``--config`` names: on disk, or else among the recipes in the package.

    Args:
        name: A path; ``configs/NAME.yaml`` is also searched for in the installed package.

    Raises:
        UserError: If there is no such file.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(Setting("config", name), f" is a folder: name a file, such as {name.rstrip('/')}/config.yaml")
    parts = path.parts
    if parts and parts[0] == "configs":
        for root in _packaged_configs():
            candidate = root.joinpath(*parts[1:])
            if candidate.is_file():
                return candidate
    known = _configs_below(_packaged_configs())
    raise UserError(
        Setting("config", name),
        f": no such file{_meant(path, known)}; the recipes that come with the package are {', '.join(known)}",
    )


def recipe_name(path: Path) -> str:
    """Returns the name of a recipe in records: ``study/lora`` for ``configs/study/lora.yaml``.

    The name is the path below the folder ``configs``, without suffix; outside such a folder, the file's stem.
    """
    *folders, _ = Path(os.path.normpath(path)).parts
    if "configs" not in folders:
        return path.stem
    below = folders[len(folders) - folders[::-1].index("configs") :]
    return "/".join((*below, path.stem))


def is_packaged(name: str) -> bool:
    """Tells whether the package has a recipe of that name.

    Args:
        name: A name as ``recipe_name`` returns it.
    """
    return any((root / f"{name}.yaml").is_file() for root in _packaged_configs())


def _meant(path: Path, known: Sequence[str]) -> str:
    """Suggests, in parentheses, the recipe that was probably meant by a file that does not exist."""
    folder, _, stem = recipe_name(path).rpartition("/")
    renamed = f"configs/{RENAMED.get(folder, folder)}/{stem}.yaml"
    if renamed in known:
        return f" (it is now {renamed})"
    closest = difflib.get_close_matches(path.as_posix(), known, n=1)
    return f" (did you mean {closest[0]}?)" if closest else ""


def find_recipe(name: str) -> str:
    """Returns the file of a recipe: ``configs/NAME.yaml``, or else ``configs/peft/NAME.yaml``.

    Args:
        name: The recipe's name, such as ``lora`` or ``vera``, or with a folder, ``study/lora``.

    Raises:
        UserError: If there is no such recipe; an overlay is not a recipe.
    """
    for folder in _FOLDERS:
        file = f"configs/{folder}{name}.yaml"
        if _names_method(file):
            return file
    files = _configs_below([Path("configs"), *_packaged_configs()])
    names = [file.removeprefix("configs/").removesuffix(".yaml") for file in files if _names_method(file)]
    direct = {known for known in names if "/" not in known}
    of_peft = {known.removeprefix("peft/") for known in names if known.startswith("peft/")} - direct
    others = {known for known in names if "/" in known and known.removeprefix("peft/") not in of_peft}
    offer = [*sorted(direct), *sorted(of_peft), *sorted(others)]
    raise UserError(f"no recipe is called {name}: there are {', '.join(offer)}")


def recipe_of_method(method: str) -> str | None:
    """Returns the name of the package's recipe for a method; None if there is none.

    Args:
        method: The method's name, such as ``lora`` or ``vera``.
    """
    return next((name for folder in _FOLDERS if is_packaged(name := f"{folder}{method}")), None)


def method_of(settings: Mapping[str, Any]) -> Any:
    """Returns the ``model.method`` of a configuration: a class in a recipe, None in most overlays."""
    model = settings.get("model")
    return model.get("method") if isinstance(model, Mapping) else None


def _names_method(file: str) -> bool:
    try:
        return bool(method_of(read_config(find_config(file))))
    except UserError:  # no such file, or a file in the user's own configs/ that holds no settings
        return False


def _configs_below(roots: Iterable[Path]) -> list[str]:
    return sorted({f"configs/{file.relative_to(root)}" for root in roots for file in root.rglob("*.yaml")})


def _packaged_configs() -> list[Path]:
    package = Path(str(resources.files("peft_lightning")))
    return [root for root in (package / "configs", package.parent / "configs") if root.is_dir()]


def read_config(path: Path, written: bool = False) -> Config:
    """Reads one YAML file of settings.

    Args:
        path: The file.
        written: Whether this program wrote it, so that libyaml reads the same in it: in 1.7 ms instead of 14.

    Raises:
        UserError: If it is not UTF-8, not YAML or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = _read_fast(text) if written else None
        content = yaml.safe_load(text) if content is None else content
    except RecursionError as error:
        raise UserError(f"{path} is not a YAML file of settings: its brackets are nested too deeply") from error
    # A date such as 2024-99-99, or a number of 5,000 digits, is a ValueError of Python's.
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path} is not a YAML file: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: a recipe is a mapping such as `data: {{n_train: 3000}}`")
    for section in SECTIONS:
        if content.get(section) is not None and not isinstance(content[section], dict):
            raise UserError(
                f"{path}: {section} is {content[section]!r}: it holds settings, as in `data: {{n_train: 3000}}`"
            )
    # A section whose lines are all comments states no difference; it does not take away what an earlier file states.
    return {name: value for name, value in content.items() if name not in SECTIONS or value is not None}


def _read_fast(text: str) -> Any:
    """Reads YAML with libyaml; returns None where it is missing, refuses the text, or might not survive it."""
    loader = getattr(yaml, "CSafeLoader", None)
    # Python's recursion ends in an exception where a file is nested too deeply, that of libyaml in a crash.
    deepest = sum(map(text.count, "[{-?"))
    if loader is None or deepest > _DEEPEST:
        return None
    try:
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError):  # Python's parser says why
        return None


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Config:
    """Merges an overlay into a configuration; another ``class_path`` or ``peft_type`` replaces the whole node.

    Args:
        base: The configuration so far; not changed.
        overlay: The settings that differ.
    """
    merged: Config = dict(base)
    for key, value in overlay.items():
        current = merged.get(key)
        if (
            isinstance(current, Mapping)
            and isinstance(value, Mapping)
            and not _changes_class(current, value.get("class_path"))
            and not _changes_type(current, value)
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
    """Tells whether ``class_path`` names another class than the node has; only the last part of each path counts."""
    if not isinstance(node, Mapping) or "class_path" not in node or not isinstance(class_path, str):
        return False
    return str(node["class_path"]).rsplit(".", 1)[-1] != class_path.rsplit(".", 1)[-1]


def _changes_type(node: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Tells whether a method's configuration names another type of PEFT than the node has."""
    return "peft_type" in value and str(node.get("peft_type", "")).upper() != str(value["peft_type"]).upper()


def split_arguments(words: list[str]) -> tuple[list[str], list[str]]:
    """Takes the ``--config`` options out of a command line.

    Args:
        words: The words after the command's name.

    Returns:
        The files named, in order, and the remaining words.

    Raises:
        UserError: If a ``--config`` is not followed by a file.
    """
    files: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word in ("--config", "-c"):
            name = next(remaining, None)
            if name is None:
                raise UserError(Setting("config"), " names no file: say ", Setting("config", "configs/qlora.yaml"))
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
        ``--name`` and its value, None if it has none; a word that belongs to no flag, and None.
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
    """Finds the flags that choose a method's class, ``--model.method=IA3``, to merge them like a file.

    Args:
        words: A command line without its ``--config`` options.

    Returns:
        An overlay with the class; empty if no flag chooses one.
    """
    overlay: Config = {}
    for name, value in read_flags(words):
        if name in ("--model.method", "--model.method.class_path") and value and not value.startswith(("-", "{")):
            overlay = {"model": {"method": {"class_path": value}}}
    return overlay
