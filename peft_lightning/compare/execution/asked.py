"""Compares the settings of a job with those of the run that lies in the job's folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.compare.plan.overrides import value_of
from peft_lightning.errors import UserError
from peft_lightning.recipes import read_config
from peft_lightning.runs.identity import WATCHING


def unlike_asked(settings: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Finds the settings in which the newest run in a job's folder differs from the job.

    Only settings that the job states are compared, not defaults. A setting that cannot be compared, because one side is
    a short form, counts as equal: training a run again for nothing costs more than to miss a rare difference.

    Args:
        settings: The job's settings.
        folder: Its folder.

    Returns:
        The dotted names of the settings that differ; none where there is no run, or its settings cannot be read.
    """
    run = newest_run(folder)
    if run is None or not (run / "config.yaml").is_file():
        return ()
    try:
        trained = read_config(run / "config.yaml", written=True)
    except UserError:  # the report says that they are left out
        return ()
    return unlike_settings(settings, trained)


def unlike_settings(wanted: Mapping[str, Any], trained: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the dotted names of the settings in which a run differs from those wanted, as ``unlike_asked`` does.

    Args:
        wanted: The settings that are stated.
        trained: The run's resolved settings.
    """
    return tuple(_differing(wanted, trained))


def _differing(wanted: Mapping[str, Any], trained: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in wanted.items():
        name, watching = f"{prefix}{key}", WATCHING.get(prefix.rstrip("."), set())
        if key not in trained or key in watching:
            continue
        other = trained[key]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differing(value, other, f"{name}.")
        elif not (_last(value) == _last(other) if key == "class_path" else _alike(value, other)):
            yield name


def _alike(wanted: Any, trained: Any) -> bool:
    if isinstance(wanted, str) and not isinstance(trained, str):
        # An override is kept as text, and YAML reads 1e-3 as a text too.
        wanted = value_of(wanted)
    if isinstance(trained, Mapping):
        # The name of a class alone is compared; other short forms count as equal.
        return (
            not isinstance(wanted, str) or "class_path" not in trained or _last(wanted) == _last(trained["class_path"])
        )
    if isinstance(trained, list):
        if not isinstance(wanted, list):
            return True
        return len(wanted) == len(trained) and not list(_differing(_numbered(wanted), _numbered(trained)))
    if wanted is None or trained is None or isinstance(wanted, bool) or isinstance(trained, bool):
        return bool(wanted == trained)
    try:
        return float(wanted) == float(trained)
    except (TypeError, ValueError):
        return str(wanted) == str(trained)


def _numbered(values: list[Any]) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(values)}


def _last(path: object) -> str:
    return str(path).rsplit(".", 1)[-1]
