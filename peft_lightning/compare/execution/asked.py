"""Whether a run that lies in a job's folder is the one that the job asks for."""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_lightning.compare.execution.job import Job
from peft_lightning.compare.execution.outcomes import newest_run
from peft_lightning.compare.plan.same_data import flags_as_overlay
from peft_lightning.recipes import Config, find_config, merge, read_config, split_arguments
from peft_lightning.runs.identity import WATCHING


def unlike_asked(job: Job) -> tuple[str, ...]:
    """Finds what the newest run in a job's folder was trained with that the job does not ask for.

    Only what the job states is looked at, not the defaults. What cannot be compared, because a short form stands on
    one side, counts as alike: a run that is trained for nothing costs more than a rare one that is not.

    Args:
        job: The job.

    Returns:
        The dotted names of the settings that differ; none where there is no run.

    Raises:
        UserError: If the job's recipe or the run's configuration cannot be read.
    """
    run = newest_run(job.folder)
    if run is None or not (run / "config.yaml").is_file():
        return ()
    return tuple(_differing(_asked(job), read_config(run / "config.yaml")))


def _asked(job: Job) -> Config:
    files, rest = split_arguments(list(job.words[1:]))
    asked: Config = {}
    for name in files:
        asked = merge(asked, read_config(find_config(name)))
    return merge(asked, flags_as_overlay(rest))


def _differing(asked: Mapping[str, Any], there: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in asked.items():
        name, watching = f"{prefix}{key}", WATCHING.get(prefix.rstrip("."), set())
        if key not in there or key in watching:
            continue
        other = there[key]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from _differing(_whole(value), other, f"{name}.")
        elif not (_last(value) == _last(other) if key == "class_path" else _alike(value, other)):
            yield name


def _whole(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Puts ``--model.method.r 4`` beside a class's other arguments, where it wins as it does for `fit`."""
    if "class_path" not in node:
        return node
    apart = {key: value for key, value in node.items() if key not in ("class_path", "init_args", "dict_kwargs")}
    return {**{key: node[key] for key in node if key not in apart}, "init_args": {**node.get("init_args", {}), **apart}}


def _alike(asked: Any, there: Any) -> bool:
    if isinstance(there, Mapping):
        # A class by its name alone; other short forms are not known here.
        return not isinstance(asked, str) or "class_path" not in there or _last(asked) == _last(there["class_path"])
    if isinstance(there, list):
        if not isinstance(asked, list):
            return True
        return len(asked) == len(there) and not list(_differing(_numbered(asked), _numbered(there)))
    if asked is None or there is None or isinstance(asked, bool) or isinstance(there, bool):
        return bool(asked == there)
    try:
        # The command line makes texts of numbers, and YAML takes 1e-3 for a text.
        return float(asked) == float(there)
    except (TypeError, ValueError):
        return str(asked) == str(there)


def _numbered(ones: list[Any]) -> dict[str, Any]:
    return {str(number): one for number, one in enumerate(ones)}


def _last(path: object) -> str:
    return str(path).rsplit(".", 1)[-1]
