"""Executors by name: each is a file in ``executors/``, imported when it is chosen."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from peft_lightning.compare.execution import executors
from peft_lightning.compare.execution.executor import Executor, ExecutorOptions
from peft_lightning.errors import UserError

DEFAULT = "local"


def executor_names() -> list[str]:
    """Lists the executors there are, none of them imported."""
    files = (path.stem for folder in executors.__path__ for path in Path(folder).glob("*.py"))
    return sorted(name for name in files if not name.startswith("_"))


def executor_named(name: str = DEFAULT, options: ExecutorOptions = ExecutorOptions()) -> Executor:  # noqa: B008 frozen
    """Makes the executor of that name.

    Args:
        name: One of ``executor_names``.
        options: How it starts runs.

    Raises:
        UserError: If there is none of that name.
    """
    module = f"{executors.__name__}.{name}"
    try:
        make: Callable[[ExecutorOptions], Executor] = import_module(module).EXECUTOR
    except ModuleNotFoundError as error:
        if error.name != module:  # a package that the executor needs
            raise
        raise UserError(f"there is no executor {name}: choose one of {', '.join(executor_names())}") from error
    return make(options)
