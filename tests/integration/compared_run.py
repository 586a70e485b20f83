"""The program, with a double for the report: it writes down how it was called, and leaves drawing to its own tests.

The runs of a comparison are processes of their own and have nothing doubled.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

REPORTED = "reported.json"


def write_report(folder: Path, others: Sequence[Path] = (), texts: bool = True) -> None:
    called = {"folder": str(folder), "others": list(map(str, others)), "texts": texts}
    (folder / REPORTED).write_text(json.dumps(called))


if __name__ == "__main__":
    double = ModuleType("peft_lightning.compare.report")
    double.write_report = write_report  # type: ignore[attr-defined]
    sys.modules["peft_lightning.compare.report"] = double
    from peft_lightning.__main__ import main

    main(sys.argv[1:])
