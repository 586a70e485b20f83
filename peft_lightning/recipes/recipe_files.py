"""Finds recipes: on disk and in the package, by their files and by their names."""

import difflib
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from peft_lightning.errors import Setting, UserError
from peft_lightning.recipes.settings_files import method_of, read_config

# Folders below configs/ that were renamed after 0.1.0.
RENAMED = {"tuned": "tuned_on_embedded"}
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
    near = difflib.get_close_matches(name, offer, 1)
    question = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"no recipe is called {name}: {question}there are {', '.join(offer)}")


def recipe_of_method(method: str) -> str | None:
    """Returns the name of the package's recipe for a method; None if there is none.

    Args:
        method: The method's name, such as ``lora`` or ``vera``.
    """
    return next((name for folder in _FOLDERS if is_packaged(name := f"{folder}{method}")), None)


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
