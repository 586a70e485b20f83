"""The registry of executors, by name."""

from collections.abc import Callable

from peft_lightning.compare.execution.executor import Executor
from peft_lightning.compare.execution.local import LocalExecutor
from peft_lightning.errors import UserError

DEFAULT = "local"
EXECUTORS: dict[str, Callable[[], Executor]] = {"local": LocalExecutor}


def executor_named(name: str = DEFAULT) -> Executor:
    """Makes the executor of that name.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in EXECUTORS:
        raise UserError(f"there is no executor {name}: choose one of {', '.join(EXECUTORS)}")
    return EXECUTORS[name]()
