"""Writes how cost grows with a model's size and the number of GPUs: a table of what `vs_peers.py` has measured.

    python benchmarks/cost_by_size.py 0.1=DIR 0.5=DIR 1.5=DIR 7=DIR --out FILE

Nothing is measured. Each folder was an `--out`; a size may have several, such as one of one GPU and one of two. Rows
are held against those of their own folder alone. What was not measured is a dash.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft_lightning.errors import UserError
from peft_lightning.runs.files import write_atomically
from side_by_side.cost_rows import HEADER, NOTE, cost_cells
from side_by_side.markdown_cells import table
from side_by_side.repeated_rows import rows_of
from side_by_side.results import FILE


def main() -> int:
    """Writes the table, or prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="SIZE=DIR", type=_named, help="billions of weights, and a folder")
    parser.add_argument("--out", type=Path, help="a Markdown file; without it the table is printed")
    arguments = parser.parse_args()
    try:
        text = as_markdown([(size, _read(folder)) for size, folder in arguments.folders])
    except UserError as error:
        print(f"cost_by_size: {error}", file=sys.stderr)
        return 2
    if arguments.out is None:
        print(text, end="")
    else:
        write_atomically(arguments.out, text.encode())
    return 0


def as_markdown(measured: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Writes a row for everything that was measured in steps, and on what.

    Args:
        measured: what `vs_peers.py` wrote, with the size of its model in words.
    """
    lines: list[list[str]] = []
    machines: dict[str, list[str]] = {}
    for size, content in measured:
        rows = rows_of(content["records"], "step")
        lines += [
            [size, row.method, row.peer, row.variant, f"{row.batch_size} × {row.max_length}", *cost_cells(row, rows)]
            for row in rows
        ]
        machines.setdefault(_machine(content["about"]["machine"]), []).append(size)
    header = ("10⁹ weights", "method", "trained by", "variant", "batch × tokens", *HEADER)
    on = [f"* {', '.join(dict.fromkeys(sizes))}: {machine}" for machine, sizes in machines.items()]
    return "\n\n".join([table(header, lines), NOTE, "\n".join(on)]) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    place = machine["gpu"] or machine.get("cpu") or "a CPU"
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    return f"{place}; {', '.join(versions)}"


def _named(text: str) -> tuple[str, Path]:
    size, equals, folder = text.partition("=")
    if not size or not equals or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not SIZE=DIR, such as 0.5=benchmarks/results/decoder_0.5b")
    return size, Path(folder)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: name folders that were an --out of vs_peers.py")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    sys.exit(main())
