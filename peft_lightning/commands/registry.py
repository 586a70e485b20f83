'''The registry of commands: each is a file in this folder, found by its docstring.

The docstring of ``commands/greet.py`` states the command's word, its purpose and, after a blank line, its usage::

    """greet: say hello.

    greet NAME      to one
    greet --all     to everybody
    """

``--help`` is made of these docstrings without importing a command. The file's ``run(words)`` runs the command. A new
command needs no other change.
'''

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from peft_lightning import commands

# What the program starts itself. It begins unlike a command, so the help leaves it out.
SETTINGS_CHECK = "settings_check"
# These come first in the help, in the order of a run; others follow by name.
_FIRST = ("fit", "validate", "test", "predict", "export", "serve", "compare", "report")


@dataclass(frozen=True)
class CommandHelp:
    """The help of a command, from its file's docstring.

    Args:
        word: The command's word.
        summary: The purpose of the command, in one line.
        usage: Examples, one per line, each beginning with the word.
    """

    word: str
    summary: str
    usage: tuple[str, ...]


def list_commands() -> list[CommandHelp]:
    """Returns all commands in the order of the help, without importing them."""
    found = [_read_help(path) for folder in commands.__path__ for path in Path(folder).glob("*.py")]
    return sorted(filter(None, found), key=_position)


def load(word: str) -> Callable[[list[str]], None]:
    """Imports a command.

    Args:
        word: The command's word, one of ``list_commands``.

    Returns:
        The function that runs the command; it takes the words after the command's own.
    """
    run: Callable[[list[str]], None] = import_module(f"{commands.__name__}.{word}").run
    return run


def _read_help(path: Path) -> CommandHelp | None:
    """Reads the docstring of a command's file; None if the file does not begin like one."""
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
