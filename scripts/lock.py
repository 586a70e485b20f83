"""Write `requirements.lock` and `requirements-dev.lock`: run by `make lock`, in an environment of pip alone.

pip itself resolves what setup.cfg asks for and reports it without installing anything.
"""

from __future__ import annotations

import argparse
import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# {title}
# Written by `make lock` from setup.cfg, with Python {python}: do not edit, run it again.
# No nvidia-*, cuda-* or triton lines: which of them a machine needs depends on the build of torch it gets
# (CUDA or CPU), and the metadata of that build pins them. No hashes, for the same reason.
"""
OF_TORCH_BUILD = re.compile(r"(nvidia|cuda|triton)(-|$)")


def requirements() -> tuple[list[str], list[str]]:
    """Read what setup.cfg asks for.

    Returns:
        The requirements of a user, and those a developer needs besides.
    """
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    runtime = config["options"]["install_requires"].split("\n")
    dev = config["options.extras_require"]["dev"].split("\n")
    return [line for line in runtime if line], [line for line in dev if line]


def resolve(wanted: list[str], *options: str) -> list[str]:
    """Let pip choose the newest versions that fit together.

    Returns:
        Sorted `name==version` lines, names normalised, without a build's local version (`+cpu`).

    Raises:
        subprocess.CalledProcessError: pip found no such set; it has said why.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    answer = subprocess.run(
        [*command, "--report", "-", *options, *wanted], check=True, stdout=subprocess.PIPE, text=True
    )
    pins = set()
    for item in json.loads(answer.stdout)["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if not OF_TORCH_BUILD.match(name):
            pins.add(f"{name}=={item['metadata']['version'].partition('+')[0]}")
    return sorted(pins)


def write(path: Path, title: str, lines: list[str]) -> None:
    """Write one lock file under its header."""
    python = ".".join(map(str, sys.version_info[:2]))
    path.write_text(HEADER.format(title=title, python=python) + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Resolve twice: the tools must bow to what users get, never the other way round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", required=True, help="the version of torch to hold to")
    arguments = parser.parse_args()
    runtime, dev = requirements()
    users = resolve([f"torch=={arguments.torch}", *runtime])
    lock = ROOT / "requirements.lock"
    write(lock, "Everything that running peft-lightning takes.", users)
    everything = resolve([*runtime, *dev], "--constraint", str(lock))
    tools = [line for line in everything if line not in users]
    title = "What the checks need besides requirements.lock."
    write(ROOT / "requirements-dev.lock", title, ["--requirement requirements.lock", *tools])


if __name__ == "__main__":
    main()
