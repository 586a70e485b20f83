"""Rewords the argument parser's errors so that they name the setting and the accepted values."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from peft_lightning import methods
from peft_lightning.commands.class_mistakes import explain_class

# The message about a class's argument is nested in the message about the class: each names its part of the key.
_KEY = re.compile(r'Parser key "([^"]+)"')
_VALUE = re.compile(r"(?P<expected>.*)(?:Got value|Given value): (?P<value>.*)$")
_LITERAL = re.compile(r"Expected a typing\.Literal(\[[^\]]*\])")
_CLASS = re.compile(r"Expected a <class '(\w+)'>")
_RESTRICTED = re.compile(r"Not of type (\w+)")
_OUT_OF_RANGE = re.compile(r'(?P<expected>Parser key "[^"]+": Not of type \w+): (?P<value>\S+) does not conform')
_UNKNOWN_ARGUMENT = re.compile(r"class_path '(?P<path>[\w.]+)': Option '(?P<name>[\w.]+)' is not accepted")
_UNACCEPTED = re.compile(r"(?:Subcommand '\w+'|Group '(?P<group>[\w.]+)') does not accept option '(?P<name>[\w.]+)'")
_NAMED_CLASS = re.compile(r"import path(?: string:)? (\S+)", re.IGNORECASE)
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "NoneType": "null",
}
_RANGES = {
    "NonNegativeFloat": "a number of at least 0",
    "NonNegativeInt": "a whole number of at least 0",
    "PositiveFloat": "a number above 0",
    "PositiveInt": "a whole number above 0",
}


def explain_argument(
    message: str, files: Sequence[Path], words: Sequence[str], known: Iterable[str], command: str
) -> str:
    """Returns what is wrong with a setting, and what would be right.

    Args:
        message: The parser's message.
        files: The ``--config`` files.
        words: The command line without them.
        known: The dotted names of all settings.
        command: The command, whose help lists them.
    """
    lines = message
    message = " ".join(message.split())
    is_lacking = message.startswith("the following arguments are required:") or (not files and "required" in message)
    if is_lacking and "model.method" in message:
        return "no method: name a recipe, such as --method lora or --config configs/lora.yaml"
    if message.startswith("unrecognized arguments: "):
        return _explain_unknown(message.removeprefix("unrecognized arguments: "), known, command)
    key = ".".join(_KEY.findall(message))
    value = _VALUE.match(message) or _OUT_OF_RANGE.search(message)
    unknown = _UNKNOWN_ARGUMENT.search(message)
    setting = (_KEY.findall(message) or [""])[0]
    suspects = {
        f"--{name}" for name in (key, setting, f"{key}.{unknown['name']}" if unknown is not None else "") if name
    }
    named = any(word.partition("=")[0].rstrip("+") in suspects for word in words)
    where = f" (in {', '.join(map(str, files))}{' or the flags' if words else ''})" if files and not named else ""
    explanation = explain_class(setting, lines, _taken) if setting.startswith("trainer.") and unknown is None else None
    if explanation is not None:
        return f"{explanation}{where}"
    if "model.method" in message and ("import path" in message.lower() or "Not a valid subclass" in message):
        given = _NAMED_CLASS.search(message)
        name = f"--model.method {given[1]}" if given is not None else "--model.method"
        return f"{name}: it takes a method by its class, one of {_methods()}; a recipe goes with --method{where}"
    if unknown is not None:
        return f"{_explain_class(unknown['path'], unknown['name'])}{where}"
    if (unaccepted := _UNACCEPTED.search(message)) is not None:
        name = ".".join(part for part in unaccepted.groups() if part)
        return f"{_explain_unknown(f'--{name}', known, command)}{where}"
    taken = _taken(value["expected"]) if value is not None else ""
    if value is None or not key or not taken:
        return f"{message}{where}"
    return f"--{key} {value['value']}: it takes {taken}{where}"


def _methods() -> str:
    return ", ".join(name for name in methods.__all__ if name != methods.Method.__name__)


def _explain_unknown(rest: str, known: Iterable[str], command: str) -> str:
    word = rest.split()[0]
    if word.endswith((".yaml", ".yml")):
        return f"{word} belongs to no option: say --config before every file, --config {word}"
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name.removeprefix("--"), list(known), 1)
    return f"there is no {name}: {f'did you mean --{near[0]}?' if near else f'{command} --help lists the settings'}"


def _explain_class(path: str, name: str) -> str:
    module, _, title = path.rpartition(".")
    if title in ("Callback", "Logger"):  # what the parser takes where no class is named
        return f"{name} belongs to no class: name the {title}, with class_path beside init_args"
    takes = inspect.signature(getattr(importlib.import_module(module), title)).parameters
    return f"{title} has no {name}: it takes {', '.join(takes) or 'nothing'}"


def _taken(expected: str) -> str:
    """Words the values that a setting takes, from the parser's message about expected types."""
    values = [value for found in _LITERAL.findall(expected) for value in ast.literal_eval(found)]
    choices = list(dict.fromkeys(str(value) for value in values))
    types = [_TYPES[name] for name in dict.fromkeys(_CLASS.findall(expected)) if name in _TYPES]
    ranges = [_RANGES[name] for name in dict.fromkeys(_RESTRICTED.findall(expected)) if name in _RANGES]
    one_of = [f"one of {', '.join(choices)}"] if choices else []
    return " or ".join([*one_of, *ranges, *types])
