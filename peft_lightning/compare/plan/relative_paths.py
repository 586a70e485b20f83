"""Checks the relative paths in a comparison's settings, which are relative to the directory in which it was begun."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from peft_lightning.compare.plan.plan import Plan
from peft_lightning.errors import UserError
from peft_lightning.runs.given_paths import given_path

# The settings that name files that a run reads, each with the values that are never a path. Caches are not among them.
_SOURCES = ("imdb", "embedded", "embedded/multi_label", "embedded/regression", "embedded/pairs")
PATHS = {("data", "source"): _SOURCES, ("model", "model_name_or_path"): ("embedded",)}


def check_paths_lead_there(plan: Plan, folder: Path) -> None:
    """Checks that runs read the same files from here as from the directory in which the comparison was begun.

    Args:
        plan: The plan. An older one, which does not keep its directory, passes.
        folder: The comparison's folder, for the error.

    Raises:
        UserError: If a path leads nowhere from here, or to another file.
    """
    if plan.directory is None:
        return
    for name, path in _relative_paths(plan):
        directory = Path(plan.directory)
        meant = directory / path
        if meant.exists():
            leads_there = path.exists() and path.samefile(meant)
            what = f"is relative to {directory}, where the comparison was begun"
        else:
            # The path was a name on the hub, or everything has been moved and now lies here.
            leads_there = not path.exists() or not directory.is_dir()
            what = f"is a folder or file here, and was none in {directory}, where the comparison was begun"
        if not leads_there:
            raise UserError(f"{name} {path} {what}: cd {directory} and go on there with --resume {folder.resolve()}")


def _relative_paths(plan: Plan) -> Iterator[tuple[str, Path]]:
    for recipe in plan.recipes:
        settings = plan.settings_of(recipe)
        for (section, key), words in PATHS.items():
            node = settings.get(section)
            value = node.get(key) if isinstance(node, Mapping) else None
            if value is None or value in words:
                continue
            # YAML reads the name of a folder 2024 as a number.
            path = given_path(str(value))
            if not path.is_absolute():
                yield f"{section}.{key}", path
