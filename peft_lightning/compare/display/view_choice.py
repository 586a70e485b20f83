"""Which view of the work fits where it is shown."""

import sys
from collections.abc import Mapping

from peft_lightning.compare.display.plain_lines import PlainLines
from peft_lightning.compare.execution.board import View


def view_for(title: str, forecast_s: Mapping[str, float], at_once: int = 1) -> View:
    """Returns a live table where a terminal can show one, and plain lines elsewhere.

    Args:
        title: What the work is.
        forecast_s: Seconds that a run of each recipe was forecast to take, by label.
        at_once: How many run at the same time.
    """
    if not sys.stdout.isatty():
        return PlainLines(title, forecast_s, at_once)
    from rich.console import Console

    if not Console().is_terminal or Console().is_dumb_terminal:
        return PlainLines(title, forecast_s, at_once)
    from peft_lightning.compare.display.live_table import LiveTable

    return LiveTable(title, forecast_s, at_once)
