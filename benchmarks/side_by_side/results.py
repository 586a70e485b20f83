"""The file of a measurement, `vs_peers.json`: what was asked, on which machine, and a record for each process."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from peft_lightning.errors import UserError
from peft_lightning.runs.environment import installed_version, processor_name
from peft_lightning.runs.files import write_atomically

FILE = "vs_peers.json"
PACKAGES = ("torch", "transformers", "peft", "lightning", "bitsandbytes", "accelerate", "tokenizers")


class Results:
    """Reads what a folder holds and adds to it, so that a measurement can be made in several calls.

    Args:
        folder: the folder; it is made where it is missing.
        about: what was asked and on what it was measured; `machine` and `work` must be those of what is there.

    Raises:
        UserError: the folder holds figures of another machine or of other work, or what was joined from others.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.path = folder / FILE
        self.records: dict[str, dict[str, Any]] = {}
        commands: list[str] = []
        if self.path.is_file():
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if "joined" in content["about"]:
                # What is added would not have been measured side by side with what is there.
                raise UserError(f"{self.path} is joined from other folders: measure into one of those and join again")
            require_same(self.path, content["about"], about)
            self.records = content["records"]
            commands = content["about"]["commands"]
        self.about = about | {"commands": [*commands, *(c for c in about["commands"] if c not in commands)]}

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Keeps a record, on disk too.

        Args:
            key: the job's key.
            record: what became of it.
        """
        self.records[key] = record
        self.write()

    def write(self) -> None:
        """Writes the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": self.about, "records": self.records}
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def require_same(path: Path, measured: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuses to put figures of another machine, or of other work, beside what a file holds.

    Args:
        path: the file.
        measured: the `machine` and the `work` of what it holds.
        about: those of this call.

    Raises:
        UserError: one of them differs.
    """
    for name in ("machine", "work"):
        if measured[name] != about[name]:
            raise UserError(
                f"{path} was measured with another {name} ({measured[name]}, now {about[name]}): choose another --out"
            )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a folder to one call: two at once would each lose the other's records.

    Args:
        folder: the folder; it is made where it is missing.

    Raises:
        UserError: another call is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(f"another call is measuring into {folder}") from error
    finally:
        os.close(handle)


def usable_cores() -> int:
    """Counts the cores that this process may use: a host may have more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine() -> dict[str, Any]:
    """Names the machine, in a form that is the same in the next call on it."""
    on_gpu = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "cpu": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
    }


def adapters_versions(site: Path | None) -> dict[str, str]:
    """Reads which packages the folder of `adapters` holds.

    Args:
        site: the folder.
    """
    names = sorted(path.name for path in site.glob("*.dist-info")) if site else []
    found = [re.fullmatch(r"(.+)-([^-]+)\.dist-info", name) for name in names]
    return {match[1]: match[2] for match in found if match}
