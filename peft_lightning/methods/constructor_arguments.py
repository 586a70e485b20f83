"""The arguments that a method is made with, by the signatures of its class and of those that it passes them on to."""

from __future__ import annotations

import inspect
from typing import Any


def arguments_of(method: type) -> list[str]:
    """Returns the names of a method's arguments, including those that it passes on to its parent class."""
    parameters = inspect.signature(method.__init__).parameters.values()  # type: ignore[misc]
    names = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name != "self"]
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        decided: frozenset[str] = getattr(method, "decided", frozenset())
        inherited = arguments_of(method.__mro__[1])
        names += [name for name in inherited if name not in names and name not in decided]
    return names


def defaults_of(method: type) -> dict[str, Any]:
    """Returns the defaults of a method's arguments, the nearest class's first."""
    defaults: dict[str, Any] = {}
    for cls in reversed(method.__mro__):
        if "__init__" in vars(cls):
            for parameter in inspect.signature(vars(cls)["__init__"]).parameters.values():
                if parameter.default is not parameter.empty:
                    value = parameter.default
                    defaults[parameter.name] = list(value) if isinstance(value, list | tuple) else value
    return defaults
