"""Whether a run that lies in a job's folder is the one that the job asks for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.compare.plan.overrides import value_of
from peft_lightning.recipes import read_config
from peft_lightning.runs.identity import WATCHING


def unlike_asked(settings: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Finds what the newest run in a job's folder was trained with that the job does not ask for.

    Only what the job states is looked at, not the defaults. What cannot be compared, because a short form stands on
    one side, counts as alike: a run that is trained for nothing costs more than a rare one that is not.

    Args:
        settings: The job's settings.
        folder: Its folder.

    Returns:
        The dotted names of the settings that differ; none where there is no run.

    Raises:
        UserError: If the run's configuration cannot be read.
    """
    run = newest_run(folder)
    if run is None or not (run / "config.yaml").is_file():
        return ()
    return tuple(_differing(settings, read_config(run / "config.yaml")))


def _differing(asked: Mapping[str, Any], trained: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in asked.items():
        name, watching = f"{prefix}{key}", WATCHING.get(prefix.rstrip("."), set())
        if key not in trained or key in watching:
            continue
        other = trained[key]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differing(value, other, f"{name}.")
        elif not (_last(value) == _last(other) if key == "class_path" else _alike(value, other)):
            yield name


def _alike(asked: Any, trained: Any) -> bool:
    if isinstance(asked, str) and not isinstance(trained, str):
        # An override is kept as it was written, and YAML takes 1e-3 for a text.
        asked = value_of(asked)
    if isinstance(trained, Mapping):
        # A class by its name alone; other short forms are not known here.
        return not isinstance(asked, str) or "class_path" not in trained or _last(asked) == _last(trained["class_path"])
    if isinstance(trained, list):
        if not isinstance(asked, list):
            return True
        return len(asked) == len(trained) and not list(_differing(_numbered(asked), _numbered(trained)))
    if asked is None or trained is None or isinstance(asked, bool) or isinstance(trained, bool):
        return bool(asked == trained)
    try:
        return float(asked) == float(trained)
    except (TypeError, ValueError):
        return str(asked) == str(trained)


def _numbered(values: list[Any]) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values)}


def _last(path: object) -> str:
    return str(path).rsplit(".", 1)[-1]
