"""``python -m peft_lightning``: runs the command of the first word, and prints a user's mistake as one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from peft_lightning.gone_reader import READER_GONE, is_reader_gone, reader_may_be_gone
from peft_lightning.stop_signals import exit_code_after, listening, received


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
    with listening(owns_process=arguments is None), _ending_in_order():
        _run(list(sys.argv[1:] if arguments is None else arguments), owns_process=arguments is None)


def _run(words: list[str], owns_process: bool) -> None:
    # Imported here, so that signals are handled while the modules are imported.
    from peft_lightning import __version__
    from peft_lightning.commands.overview import overview
    from peft_lightning.commands.registry import SETTINGS_CHECK, list_commands, load
    from peft_lightning.errors import Setting, UserError
    from peft_lightning.startup import importing, torchmetrics_without_extras

    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return
    if words[0] == "--version":
        print(__version__)
        return
    known = [command.word for command in list_commands()]
    if words[0] not in known and words[0] != SETTINGS_CHECK:
        fail(f"unknown command {words[0]!r}: the commands are {', '.join(known)} (--help explains them)")
    try:
        from peft_lightning.commands.started_ahead import start_ahead, wait_if_ahead

        if owns_process:
            start_ahead(words)
        with importing(for_good=owns_process), torchmetrics_without_extras():
            run = load(words[0])
        if owns_process:
            wait_if_ahead()
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


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Ends a command that a signal has stopped, or whose output nobody reads any more, without a traceback."""
    try:
        yield
        _flush()
    except SystemExit:
        _flush()
        raise
    except KeyboardInterrupt as stop:
        with reader_may_be_gone():
            print(f"\npeft_lightning: {str(stop) or 'interrupted'}", file=sys.stderr, flush=True)
        sys.exit(exit_code_after(stop))
    except OSError as error:
        if not is_reader_gone(error):
            raise
        with reader_may_be_gone():
            sys.stdout.flush()
        sys.exit(exit_code_after(received()) if received() is not None else READER_GONE)


def _flush() -> None:
    """Writes what is left of the output: what fails at the interpreter's exit cannot be caught."""
    try:
        sys.stdout.flush()
    except OSError as error:
        with reader_may_be_gone():
            sys.stdout.flush()
        if is_reader_gone(error):
            raise
        fail(f"cannot write standard output ({error.strerror}): send it elsewhere")


if __name__ == "__main__":
    main()
