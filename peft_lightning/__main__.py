"""``python -m peft_lightning``: runs the command of the first word, and prints a user's mistake as one line."""

import sys
from typing import NoReturn

from peft_lightning import __version__
from peft_lightning.commands.overview import overview
from peft_lightning.commands.registry import list_commands, load
from peft_lightning.errors import Setting, UserError
from peft_lightning.startup import importing, torchmetrics_without_extras


def fail(message: str) -> NoReturn:
    """Prints one line and ends the process with exit code 2.

    Args:
        message: What is wrong and how to mend it; line breaks become spaces.
    """
    print(f"peft_lightning: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command of the command line.

    Args:
        arguments: The words after the program's name; None for those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return
    if words[0] == "--version":
        print(__version__)
        return
    known = [command.word for command in list_commands()]
    if words[0] not in known:
        fail(f"unknown command {words[0]!r}: the commands are {', '.join(known)} (--help explains them)")
    try:
        with importing(for_good=arguments is None), torchmetrics_without_extras():
            run = load(words[0])
        run(words[1:])
    except ModuleNotFoundError as error:
        # A dependency is missing if another Python than the environment's runs this. Our own modules never are.
        if debug or error.name is None or error.name.startswith("peft_lightning"):
            raise
        fail(
            f"{error.name} is not installed for {sys.executable}: use the environment that `make install` makes"
            " (. .venv/bin/activate), or run pip install . in your own"
        )
    except UserError as error:
        if debug:
            raise
        fail(error.worded(Setting.as_flag))


if __name__ == "__main__":
    main()
