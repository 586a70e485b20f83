"""The identity of a run: the hash of its resolved configuration."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from peft_lightning.task import FIRST

# Settings of where a run is stored and how it is shown do not change what it computes.
WATCHING = {
    "trainer": {"default_root_dir", "enable_progress_bar", "enable_model_summary", "logger", "profiler"},
    "data": {"cache_dir", "predict_file"},
    "checkpoint": {"max_time_share"},
}
# Settings that were added later, with the value that earlier runs had. That value is left out of the hash, so that
# earlier runs keep theirs.
FIRST_VALUES = {
    "model.backbone_dtype": "float32",
    "model.quantization": None,
    "model.quantize_on": "auto",
    "model.method.loraplus_lr_ratio": 1.0,
    "model.method.start_batches": 32,
    "model.problem_type": None,
    "model.class_weights": None,
    "model.focal_gamma": 0.0,
    "model.huber_delta": None,
    "data.text_pair_column": None,
    "data.add_eos_token": False,
    "data.window_stride": None,
    "early_stopping": {"patience": None, "monitor": None, "min_delta": 0.0},
    "calibration": {"temperature": False, "thresholds": None},
    "engine": "auto",
    "rehearsal": False,
    "checkpoint.max_time_share": 1.0,
}
# Settings whose default is None now; earlier runs wrote the value out, so None is hashed as that value.
WRITTEN_OUT = {"checkpoint.monitor": {None: FIRST.headline.validation}}
# A run that ran out of memory may go on with another limit.
ALLOWED = {"memory_limit_gib"}


def config_sha256(config: Mapping[str, Any]) -> str:
    """Hashes a resolved configuration, without settings that do not change what the run computes.

    Args:
        config: The settings as ``config.yaml`` keeps them.

    Returns:
        64 hexadecimal digits.
    """
    kept: dict[str, Any] = {}
    for section, value in config.items():
        if section in ALLOWED or _is_first(section, value):
            continue
        if isinstance(value, Mapping):
            value = {
                key: written_out(f"{section}.{key}", _without_firsts(f"{section}.{key}", item))
                for key, item in value.items()
                if key not in WATCHING.get(section, ()) and not _is_first(f"{section}.{key}", item)
            }
        kept[section] = value
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def spelled_otherwise(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a configuration in the other ways to ask for its processes: they train the same, so a run may go on.

    A file's ``devices: 2`` is a number and a flag's is text. Two machines of four devices deal out batches as one of
    eight does.

    Args:
        config: The resolved configuration.
    """
    trainer = config.get("trainer")
    if not isinstance(trainer, Mapping):
        return
    here, machines = (str(trainer.get(name)) for name in ("devices", "num_nodes"))
    if not (here.isdecimal() and machines.isdecimal()):
        return
    processes = int(here) * int(machines)
    for number in range(1, processes + 1):
        if processes % number:
            continue
        for devices in (processes // number, str(processes // number)):
            if (devices, number) != (trainer["devices"], trainer["num_nodes"]):
                yield {**config, "trainer": {**trainer, "devices": devices, "num_nodes": number}}


def first_value(name: str) -> Any:
    """Returns the value that a setting had before it could be chosen; None for any that was always there.

    Args:
        name: The setting's dotted name, such as ``early_stopping.patience``.
    """
    section, _, key = name.rpartition(".")
    whole = FIRST_VALUES.get(section)
    return whole.get(key) if isinstance(whole, Mapping) else FIRST_VALUES.get(name)


def written_out(name: str, value: Any) -> Any:
    """Replaces a default of None by the value that earlier runs wrote out.

    Args:
        name: The setting's dotted name.
        value: Its value.
    """
    # Compared one by one: a file that is not ours may have a list here, which cannot be looked up.
    return next((written for first, written in WRITTEN_OUT.get(name, {}).items() if value == first), value)


def _without_firsts(name: str, value: Any) -> Any:
    """Leaves out of a class's arguments those that were added later and have the value that earlier runs had."""
    if not isinstance(value, Mapping) or not isinstance(arguments := value.get("init_args"), Mapping):
        return value
    kept = {key: item for key, item in arguments.items() if not _is_first(f"{name}.{key}", item)}
    return {**value, "init_args": kept}


def _is_first(name: str, value: object) -> bool:
    return name in FIRST_VALUES and value == FIRST_VALUES[name]
