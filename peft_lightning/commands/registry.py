'''The commands there are: one command, one file of this folder, found by its docstring.

The docstring of ``commands/greet.py`` says the command's word, what it does and, after a blank line, how it is used::

    """greet: say hello.

    greet NAME      to one
    greet --all     to everybody
    """

``--help`` is put together from these without importing any. The file's ``run(words)`` runs the command. Nothing else
has to know of it.
'''

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from peft_lightning import commands

# In the order of a run; others follow by name.
_FIRST = ("fit", "validate", "test", "predict")


@dataclass(frozen=True)
class CommandHelp:
    """What a command's file says of it.

    Args:
        word: The word that calls it.
        summary: What it does, in a line.
        usage: Examples, a line each, from the word on.
    """

    word: str
    summary: str
    usage: tuple[str, ...]


def list_commands() -> list[CommandHelp]:
    """Returns all commands in the order of the help, none of them imported."""
    found = [_read_help(path) for folder in commands.__path__ for path in Path(folder).glob("*.py")]
    return sorted(filter(None, found), key=_position)


def load(word: str) -> Callable[[list[str]], None]:
    """Imports a command.

    Args:
        word: Its word, one of ``list_commands``.

    Returns:
        What runs it, given the words after its own.
    """
    run: Callable[[list[str]], None] = import_module(f"{commands.__name__}.{word}").run
    return run


def _read_help(path: Path) -> CommandHelp | None:
    """Reads the docstring of a command's file; other files of the folder begin otherwise."""
    text = path.read_text(encoding="utf-8")
    beginning = f'"""{path.stem}: '
    if not text.startswith(beginning):
        return None
    docstring = text.removeprefix(beginning).partition('"""')[0]
    summary, _, rest = docstring.partition("\n\n")
    usage = rest.partition("\n\n")[0].splitlines()
    return CommandHelp(path.stem, " ".join(summary.split()).rstrip("."), tuple(line for line in usage if line.strip()))


def _position(command: CommandHelp) -> tuple[int, str]:
    return _FIRST.index(command.word) if command.word in _FIRST else len(_FIRST), command.word
