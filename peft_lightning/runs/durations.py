"""Durations in words: exact ones for figures, round ones for estimates."""


def duration(seconds: float | None) -> str:
    """Words a measured time, to a tenth of its unit; one that was not measured is a dash.

    Args:
        seconds: The time in seconds.
    """
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def round_duration(seconds: float | None) -> str:
    """Words a duration as one says it, to two digits; one that is not known is a dash.

    Args:
        seconds: The duration in seconds.
    """
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"
