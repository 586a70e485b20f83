"""The name under which this program was started."""

import sys
from pathlib import Path

SCRIPT = "peft-lightning"


def program() -> str:
    """Returns the words that start this program, for usage lines and for commands to be repeated."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else "python -m peft_lightning"
