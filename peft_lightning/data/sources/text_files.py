"""Reads UTF-8 text files."""

from pathlib import Path

from peft_lightning.errors import UserError


def read_utf8(path: Path) -> str:
    """Reads a text file, with or without a byte order mark.

    Raises:
        UserError: If it cannot be read or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror
        raise UserError(f"cannot read {path} ({reason}): check the path and its permissions") from error
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} is not UTF-8 (line {line}, byte {error.start}): convert it, "
            "for instance with iconv -f latin1 -t utf-8"
        ) from error


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file, without the blank lines at its end.

    Raises:
        UserError: If it cannot be read or is not UTF-8.
    """
    # Not splitlines(): it also splits at characters that reviews contain, such as U+0085.
    text = read_utf8(path).rstrip()
    return [line.removesuffix("\r") for line in text.split("\n")] if text else []
