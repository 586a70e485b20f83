#!/usr/bin/env bash
# Library:  jsonargparse 4.53.0
# Seen:     an argument annotated `str | None` turns the text null into None even where YAML quotes it, that is where the
#           YAML reader has said that it is text; `~` and `&a` become None too. The annotation `str` keeps all three.
# Output:   'null' -> None, '~' -> None, '&a' -> None for `str | None`; unchanged for `str`
# Matters:  a recipe, run or column called null (a file's real name) lost its name on the way through a saved configuration.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet 'jsonargparse==4.53.0' 'pyyaml==6.0.3'
"$place/env/bin/python" - <<'PY'
import sys

from jsonargparse import ArgumentParser

parser = ArgumentParser(exit_on_error=False)
parser.add_argument("--name", type=str | None)
parser.add_argument("--plain", type=str)
parser.add_argument("--config", action="config")
found = {}
for text in ("null", "~", "&a", "other"):
    read = parser.parse_args(["--config", f'{{"name": "{text}", "plain": "{text}"}}'])
    found[text] = (read.name, read.plain)
    print(f"{text!r} in quotes: `str | None` gives {read.name!r}, `str` gives {read.plain!r}")
expected = {"null": (None, "null"), "~": (None, "~"), "&a": (None, "&a"), "other": ("other", "other")}
sys.exit(found != expected)
PY
