"""Settings that are a whole number or a share: `1` is one, and `1.0` is all."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin


def try_whole_numbers_first(function: Callable[..., Any]) -> None:
    """Puts ``int`` before ``float`` where an argument may be either: a parser tries the types in their order.

    ``typing`` gives one object for unions of the same types, in the order of whoever asked first. Depending on what
    else is installed, Lightning's ``Union[int, float]`` comes out as ``Union[float, int]``, and
    ``--trainer.limit_train_batches 1`` was the whole epoch.

    Args:
        function: The function; its annotations are changed in place.
    """
    unions: tuple[object, ...] = (Union, UnionType)
    for name, hint in function.__annotations__.items():
        kinds = get_args(hint)
        if get_origin(hint) not in unions or not {int, float} <= set(kinds):
            continue
        if kinds.index(float) < kinds.index(int):
            rest = [kind for kind in kinds if kind not in (int, float)]
            # Of `|` nothing is kept.
            function.__annotations__[name] = reduce(or_, rest, int | float)
