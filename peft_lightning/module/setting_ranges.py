"""Which settings of the model can be used: numbers within their range, and classes with names of their own."""

import math
from collections.abc import Callable, Mapping, Sequence

from peft_lightning.errors import UserError

# Written so that NaN is in none of them.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": (lambda value: value > 0, "above 0"),
    "adam_beta1": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "adam_beta2": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "adam_epsilon": (lambda value: value > 0, "above 0"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "warmup_ratio": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "label_smoothing": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "focal_gamma": (lambda value: 0 <= value < math.inf, "at least 0"),
    "huber_delta": (lambda value: 0 < value < math.inf, "above 0"),
}


def require_ranges(settings: Mapping[str, float | None]) -> None:
    """Refuses a number that is out of its range.

    Args:
        settings: Settings of the model by name; a number that is not set is None.

    Raises:
        UserError: If one is out of its range.
    """
    for name, value in settings.items():
        holds, rule = _RANGES[name]
        if value is not None and not holds(value):
            raise UserError(f"model.{name} is {value}: it must be {rule}")


def require_names_apart(class_names: Sequence[str] | None) -> None:
    """Refuses two classes of one name.

    Args:
        class_names: Names for the classes; None for the data's own.

    Raises:
        UserError: If a name is there twice.
    """
    if class_names is not None and len(set(class_names)) < len(class_names):
        raise UserError(f"model.class_names names a class twice: {', '.join(class_names)}")
