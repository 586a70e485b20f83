"""The relative paths in a comparison's settings, which lead somewhere from the directory where it was begun alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from peft_lightning.compare.plan.plan import Plan
from peft_lightning.errors import UserError

# The settings that a run reads files by, each with the words that are never a path there. What is only a cache is none.
PATHS = {("data", "source"): ("imdb", "embedded"), ("model", "model_name_or_path"): ("embedded",)}


def check_paths_lead_there(plan: Plan, folder: Path) -> None:
    """Makes sure that runs would read the same files from here as from where the comparison was begun.

    Args:
        plan: The comparison; one of before its directory was kept passes.
        folder: Its folder, for the mend.

    Raises:
        UserError: If a path leads to nothing from here, or to something else.
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
            # It was a name on the hub; or all has been moved since, and here is where it lies now.
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
            # YAML takes a folder called 2024 for a number.
            path = Path(str(value)).expanduser()
            if not path.is_absolute():
                yield f"{section}.{key}", path
