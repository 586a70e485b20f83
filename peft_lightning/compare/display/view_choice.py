"""Chooses the view: a live table in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Mapping

from peft_lightning.compare.display.plain_lines import PlainLines
from peft_lightning.compare.execution.board import View


def view_for(title: str, forecast_s: Mapping[str, float], at_once: int = 1) -> View:
    """Returns a live table if the terminal can show one, else plain lines.

    Args:
        title: The name of the work.
        forecast_s: Forecast seconds of a run, by the job's variant.
        at_once: Number of jobs that run at the same time.
    """
    if not sys.stdout.isatty():
        return PlainLines(title, forecast_s, at_once)
    from rich.console import Console

    if not Console().is_terminal or Console().is_dumb_terminal:
        return PlainLines(title, forecast_s, at_once)
    from peft_lightning.compare.display.live_table import LiveTable

    return LiveTable(title, forecast_s, at_once)
