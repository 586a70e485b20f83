"""The list of what a run's own callbacks and loggers write, ``elsewhere.jsonl``, so that a resumed run takes it up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from peft_lightning.runs.files import write_atomically

Kind = Literal["checkpoint", "rows"]


class Entry(NamedTuple):
    """A thing that a run writes.

    Args:
        kind: ``checkpoint``, a file, or ``rows``, the folder of a ``CSVLogger``.
        path: Its absolute path.
    """

    kind: Kind
    path: Path


class Elsewhere:
    """A list to which a run appends what it is about to write.

    A killed run leaves checkpoints that its ``ModelCheckpoint`` wrote after the one to resume from. The resumed run
    writes them again, and with the old ones in the way Lightning would choose other names.

    Args:
        path: The list, which is made with its first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[Entry]:
        """Returns what is listed, in the order of time; a line that a kill cut short is left out."""
        return list(self._read())

    def add(self, kind: Kind, path: Path) -> None:
        """Appends an entry, before the thing is written."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(Entry(kind, path.absolute())))

    def rewind(self, kept: int) -> None:
        """Removes the checkpoints that are listed after the first entries, and leaves them out of the list.

        Args:
            kept: The number of entries to keep. A file that is among them too is kept: it was written over.
        """
        entries = self.entries()
        known = {entry.path for entry in entries[:kept]}
        removed = [entry for entry in entries[kept:] if entry.kind == "checkpoint"]
        for _, path in removed:
            path.with_name(f"{path.name}.partial").unlink(missing_ok=True)
            if path not in known:
                path.unlink(missing_ok=True)
                _remove_dangling_links(path.parent)
        if self._path.exists():  # rewritten in any case, without the rest of a line that a kill cut short
            remaining = [*entries[:kept], *(entry for entry in entries[kept:] if entry.kind == "rows")]
            write_atomically(self._path, "".join(map(_line, remaining)).encode())

    def _read(self) -> Iterator[Entry]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            yield Entry(content["kind"], Path(content["path"]))


def _line(entry: Entry) -> str:
    return json.dumps({"kind": entry.kind, "path": str(entry.path)}) + "\n"


def _remove_dangling_links(folder: Path) -> None:
    """Removes links such as ``last.ckpt`` of ``save_last: link`` whose checkpoint is gone."""
    for path in folder.glob("*.ckpt"):
        if path.is_symlink() and not path.exists():
            path.unlink()
