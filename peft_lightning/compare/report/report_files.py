"""Makes and writes the files of a report; one that fails costs no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.errors import UserError
from peft_lightning.runs.files import CannotWrite, Mend
from peft_lightning.runs.output_file import OutputFile

if TYPE_CHECKING:
    from rich.console import Console

WRITE_AGAIN = Mend(
    ("free some, then write the report again",), ("make its folder writable, then write the report again",)
)


def write_content(
    folder: Path,
    makers: Mapping[str, Callable[[], str]],
    attempts: Attempts,
    instead: Callable[[str], str],
    in_the_way: list[UserError],
) -> tuple[str, ...]:
    """Makes and writes the files of a report; one that cannot be made or written costs no other.

    Args:
        folder: The folder that gets them.
        makers: Makes each file's content, by its name.
        attempts: Makes them, and keeps which failed.
        instead: Returns what to write where a file could not be made; nothing if that is empty.
        in_the_way: Gets the reason for each file that could not be written.

    Returns:
        The names of the files that were written.
    """
    files = {name: OutputFile(folder / name, mend=WRITE_AGAIN) for name in makers}
    written: list[str] = []
    for name, make in makers.items():
        content = attempts.made(name, f"{name} is", make, "") or instead(name)
        try:
            if content:
                files[name].check()
                # A text from a damaged file may hold half a character.
                files[name].write(content.encode(errors="backslashreplace"))
                written.append(name)
            else:
                (folder / name).unlink(missing_ok=True)  # that of an earlier report
        except UserError as error:
            in_the_way.append(error)
        except OSError as error:
            in_the_way.append(CannotWrite.because(error, folder / name).mended(WRITE_AGAIN))
    return tuple(written)


def print_written(console: Console, folder: Path, files: Sequence[str]) -> None:
    """Prints which files of a report were written."""
    from rich.text import Text

    if files:
        names = ", ".join(sorted(files, key=("report.html", "table.md", "results.csv").index))
        console.print(Text(f"\nwritten to {folder}: {names}"), soft_wrap=True)
