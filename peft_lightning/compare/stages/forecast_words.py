"""Prints the forecast as a table, and its total in a line."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from peft_lightning.compare.display.row_words import DASH
from peft_lightning.compare.stages.forecast import Forecast
from peft_lightning.runs.durations import round_duration


def print_forecast(forecast: Forecast, jobs: int, tries: int, console: Console | None = None, values: int = 1) -> None:
    """Prints what each recipe and the whole comparison will take.

    Args:
        forecast: The forecast.
        jobs: Number of runs of each recipe.
        tries: Number of learning rates that are tried for each recipe before the runs.
        console: The console to print on; the terminal if None.
        values: Number of values of a sweep.
    """
    console = console or Console()
    names = {recipe.peak_of for recipe in forecast.recipes if recipe.peak_gib is not None}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("forecast")
    for heading in ("start", "s per step", "steps", f"GiB {' or '.join(sorted(names)) or 'memory'}", "a run"):
        table.add_column(heading, justify="right")
    for recipe in forecast.recipes:
        table.add_row(
            Text(recipe.label),  # a str would be read as markup
            round_duration(recipe.startup_s),
            f"{recipe.step_s:.3g}" if recipe.step_s is not None else DASH,
            str(recipe.steps) if recipe.steps is not None else DASH,
            f"{recipe.peak_gib:.2f}" if recipe.peak_gib is not None else DASH,
            round_duration(recipe.run_s),
        )
    console.print(table)
    for recipe in forecast.recipes:
        if recipe.error is not None:
            console.print(Text(f"{recipe.label}: {recipe.error}", "red"))
    for reason in dict.fromkeys(recipe.not_measured for recipe in forecast.recipes if recipe.not_measured):
        console.print(Text(f"time and memory are not forecast: {reason}"))
    tuned = f" and {tries} learning rates" if tries else ""
    total = f"about {round_duration(forecast.total_s)}" if forecast.total_s is not None else "an unknown time"
    each = "each recipe" if values == 1 else f"each recipe at each of {values} values"
    console.print(
        f"{jobs} run{'' if jobs == 1 else 's'}{tuned} for {each}: {total} in all\n", markup=False, highlight=False
    )
