"""Words what is wrong with a setting that takes classes, such as ``trainer.callbacks``, from the parser's message."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterator

# Lines that belong to a point of the parser's list are further to the right than its dash.
_PROBLEM = re.compile(
    r"^(?P<indent> *)- Problem with given class_path '(?P<path>[^']+)':\n(?P<reason>(?:(?P=indent) +(?!- ).*\n?|\n)+)",
    re.M,
)
_NAME = re.compile(r"Expected a dot import path string: (.*)")
_NO_SUBCLASS = re.compile(r"Import path.*does not correspond to a subclass of (\w+)")
_NOT_A_CLASS = re.compile(r"Not a valid subclass of (\w+)")
_BASE = re.compile(r"<class '([\w.]+)'>|\[([\w.]+)\]")
_GIVEN = re.compile(r"Given value: (.*)\Z", re.S)
_EXAMPLES = ("EarlyStopping", "CSVLogger")
_REQUIRED = re.compile(r"the following arguments are required: (.*)", re.S)
_INNER = re.compile(r'Parser key "(?P<name>[\w.]+)":\s*(?P<expected>.*)(?:Got value|Given value): (?P<value>.*)', re.S)


def explain_class(key: str, message: str, taken: Callable[[str], str]) -> str | None:
    """Returns what is wrong with the class that a setting names; None if something else is wrong.

    Args:
        key: The setting's dotted name.
        message: The parser's message about it, with its line breaks.
        taken: Words the values that an argument takes, from the parser's words for its types.
    """
    given = found[1].strip() if (found := _GIVEN.search(message)) is not None else ""
    if (problem := _PROBLEM.search(message)) is not None:
        return _problem(key, problem["path"], problem["reason"].strip(), taken)
    if (named := _NAME.search(message)) is not None:
        name = named[1].strip()
        base, known = _known(message)
        near = difflib.get_close_matches(name, known, 1, cutoff=0.8)
        mend = f"did you mean {near[0]}?" if near else f"name one of {', '.join(known)}, or another by its import path"
        return f"--{key} {name}: there is no {base} of that name: {mend}"
    if (no_subclass := _NO_SUBCLASS.search(message)) is not None:
        return f"--{key} {given}: that is no {no_subclass[1]}"
    if (no_class := _NOT_A_CLASS.search(message)) is not None:
        base, known = _known(message)
        example = next((name for name in _EXAMPLES if name in known), base)
        return f"--{key} {given}: it takes a {no_class[1]} by its class, such as {example}"
    return None


def _problem(key: str, path: str, reason: str, taken: Callable[[str], str]) -> str:
    title = path.rpartition(".")[2]
    if (required := _REQUIRED.fullmatch(reason)) is not None:
        names = [name.strip() for name in required[1].split(",")]
        return f"--{key}: {title} needs {' and '.join(names)}: say --{key}.{names[0]}, or init_args in a file"
    if (inner := _INNER.search(reason)) is not None and (values := taken(inner["expected"])):
        return f"--{key}.{inner['name']} {' '.join(inner['value'].split())}: {title} takes {values}"
    mend = (
        "; a module of your own is found beside the program's start, or on PYTHONPATH" if "No module" in reason else ""
    )
    return f"--{key}: {path} cannot be used: {' '.join(reason.split())}{mend}"


def _known(message: str) -> tuple[str, list[str]]:
    """Returns the name of the class whose subclasses a setting takes, and the names of those that are imported."""
    for pair in _BASE.findall(message.partition("Errors:")[0]):
        module, _, name = (pair[0] or pair[1]).rpartition(".")
        if not module.startswith("lightning."):
            continue
        base: type = getattr(importlib.import_module(module), name)
        names = {kind.__name__ for kind in _subclasses(base) if kind.__module__.startswith("lightning.")}
        return name, sorted(name for name in names if not name.startswith(("_", "Dummy")))
    return "class", []


def _subclasses(base: type) -> Iterator[type]:
    kinds: list[type] = base.__subclasses__()
    for kind in kinds:
        yield kind
        yield from _subclasses(kind)
