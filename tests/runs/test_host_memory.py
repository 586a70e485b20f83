"""What a process may still take, from trees of files as Linux shows them."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from peft_lightning.runs.host_memory import available_memory

MACHINE = 1000
V1_WITHOUT_LIMIT = "9223372036854771712"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=MACHINE))


def tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, content in ({"proc/self/cgroup": groups} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def v2(limit: str, taken: int, unused_files: int = 0, group: str = "") -> dict[str, str]:
    folder = f"sys/fs/cgroup/{group}"
    stat = f"anon {taken - unused_files}\ninactive_file {unused_files}\nactive_file 7"
    return {f"{folder}/memory.max": limit, f"{folder}/memory.current": str(taken), f"{folder}/memory.stat": stat}


def v1(limit: str, taken: int, unused_files: int = 0, group: str = "") -> dict[str, str]:
    folder = f"sys/fs/cgroup/memory/{group}"
    stat = f"inactive_file 3\ntotal_inactive_file {unused_files}"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    return {f"{folder}/{name}": value for name, value in zip(names, (limit, str(taken), stat), strict=True)}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {}, MACHINE),
        ("0::/", v2("500", 400), 100),
        ("0::/", v2("5000", 400), MACHINE),
        ("0::/", v2("max", 400), MACHINE),
        # What was read from files and is not used makes room.
        ("0::/", v2("500", 400, unused_files=250), 350),
        ("0::/", v2("500", 600), 0),
        # The group around it is the tighter one.
        ("0::/pod/run", v2("500", 400, group="pod") | v2("900", 300, group="pod/run"), 100),
        ("0::/pod/run", v2("500", 100, group="pod") | v2("300", 100, group="pod/run"), 200),
        ("4:memory:/\n1:cpu:/other\n0::/", v1("500", 400, unused_files=50), 150),
        ("4:cpu,memory:/run", v1(V1_WITHOUT_LIMIT, 900) | v1("500", 200, group="run"), 300),
        # Within a container of Docker the group's name is the host's, and its files are at the top.
        ("4:memory:/docker/4f2a", v1("500", 400), 100),
        ("1:cpu:/run", v1("500", 400, group="run"), MACHINE),
        ("nothing known\n0::/", v2("500", 400) | {"sys/fs/cgroup/memory.stat": "nothing known\nunknown"}, 100),
    ],
)
def test_the_tightest_limit_counts(groups: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert available_memory(tree(tmp_path, groups, files)) == expected


def test_what_cannot_be_read_limits_nothing(tmp_path: Path) -> None:
    assert available_memory(tmp_path) == MACHINE
    assert available_memory(tree(tmp_path, "0::/", {"sys/fs/cgroup/memory.max": "500"})) == MACHINE


def test_this_machine_is_read() -> None:
    assert available_memory() > 0
