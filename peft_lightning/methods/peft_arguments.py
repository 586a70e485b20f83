"""The words of a type's configuration: read from a file or a setting, and checked before a model is loaded."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from peft_lightning.errors import Placeholder, Setting, UserError
from peft_lightning.methods.peft_types import PROMPTS, did_you_mean
from peft_lightning.runs.given_paths import given_path

if TYPE_CHECKING:
    from peft import PeftConfig

# Arguments of every configuration that a run sets by itself, or that say where a file came from.
BOOKKEEPING = (
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
)
# Arguments that go with one value of init_lora_weights alone.
_OF_STARTS = {"corda_config": "corda", "eva_config": "eva", "lora_ga_config": "lora_ga"}
_PLAIN = {bool, int, float, str, type(None)}


def read_words(config: Mapping[str, Any] | str) -> tuple[str, dict[str, Any]]:
    """Reads a configuration.

    Args:
        config: Its words; or an ``adapter_config.json`` as PEFT writes it, or the folder that holds one.

    Returns:
        The type, and its other words.

    Raises:
        UserError: If the file cannot be read, or names no type.
    """
    words = dict(config) if isinstance(config, Mapping) else _read_file(given_path(config))
    # The parser (jsonargparse 4.53) makes a text of the null in `--model.method.config.NAME null`.
    words = {name: None if value == "None" else value for name, value in words.items()}
    peft_type = words.pop("peft_type", None)
    if not isinstance(peft_type, str):
        raise UserError("the method has no type: name it with ", Setting("model.method.config.peft_type", "VERA"))
    return peft_type.upper(), words


def check_arguments(cls: type[PeftConfig], peft_type: str, arguments: Mapping[str, object]) -> None:
    """Checks a type's arguments against its configuration class; no model is needed.

    Args:
        cls: The class of the type's configuration.
        peft_type: The type.
        arguments: The arguments that the user has set.

    Raises:
        UserError: If an argument is unknown, missing or of another type than the class says.
    """
    known = [field.name for field in dataclasses.fields(cls) if field.name not in BOOKKEEPING]
    for name in arguments:
        if name not in known:
            raise UserError(
                f"{cls.__name__} has no argument {name!r}: {did_you_mean(name, known)}{peft_type} takes"
                f" {', '.join(known)}"
            )
    if peft_type in PROMPTS and not arguments.get("num_virtual_tokens"):
        raise UserError(
            f"{peft_type} needs the number of its virtual tokens: use ",
            Setting("model.method.config.num_virtual_tokens", 20),
        )
    _check_start(arguments)
    if arguments.get("generator_seed") is not None:
        # Its state is in no checkpoint, and activations computed again would get other noise than before.
        raise UserError("generator_seed would make a run that cannot be resumed: leave it out, the run's seed serves")
    if peft_type == "ADAMSS" and arguments.get("use_asa"):
        raise UserError("ADAMSS with use_asa cannot be resumed, so it is refused: leave use_asa out")
    _check_types(cls, arguments)
    if peft_type == "ADALORA":
        _check_ranks(cls, arguments)


def _read_file(path: Path) -> dict[str, Any]:
    file = path / "adapter_config.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {file} ({error}): name an adapter_config.json as PEFT writes it with ",
            Setting("model.method.config", Placeholder("FILE")),
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no PEFT configuration: it has to be one JSON object")
    return content


def _check_ranks(cls: type[PeftConfig], arguments: Mapping[str, object]) -> None:
    """Refuses a mean rank that AdaLoRA cannot come down to, since layers begin with less: it would never reallocate."""
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    first, last = (cast("int", arguments.get(name, defaults[name])) for name in ("init_r", "target_r"))
    if last > first:
        raise UserError(
            f"AdaLoRA's target_r {last} is above its init_r {first}, the rank that layers begin with: use ",
            Setting("model.method.config.init_r", last + last // 2),
            " or a smaller target_r",
        )


def _check_start(arguments: Mapping[str, object]) -> None:
    start = arguments.get("init_lora_weights")
    for name, own in _OF_STARTS.items():
        if arguments.get(name) and start != own:
            raise UserError(
                f"{name} has no effect under another start: use ",
                Setting("model.method.config.init_lora_weights", own),
                f", or leave {name} out",
            )
    corda = arguments.get("corda_config")
    files = [name for name in ("cache_file", "covariance_file") if isinstance(corda, Mapping) and corda.get(name)]
    if files:
        raise UserError(
            f"corda_config.{files[0]} could hold the start of other data: leave it out, every run computes its own"
        )
    if start == "loftq":
        raise UserError(
            "loftq is refused: PEFT computes it on a GPU alone, and leaves the weights in floats, which saves no "
            "memory: use ",
            Setting("model.quantization", "nf4"),
            " with init_lora_weights olora instead",
        )


def _check_types(cls: type[PeftConfig], arguments: Mapping[str, object]) -> None:
    """Checks numbers, truth values and words; PEFT's annotations of other values do not hold all that it takes."""
    hints = typing.get_type_hints(cls)
    for name, value in arguments.items():
        options = typing.get_args(hints[name]) or (hints[name],)
        if set(options) <= _PLAIN and not any(_is_a(value, option) for option in options):
            expected = " or ".join("null" if option is type(None) else option.__name__ for option in options)
            raise UserError(f"{cls.__name__}: {name} is {value!r}, and has to be of type {expected}")


def _is_a(value: object, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))
