"""Formats durations: to a tenth for measurements, rounded for estimates."""


def duration(seconds: float | None) -> str:
    """Formats a measured time to a tenth of its unit; a dash if it was not measured.

    Args:
        seconds: The time in seconds.
    """
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def round_duration(seconds: float | None) -> str:
    """Formats an estimated duration in round figures; a dash if it is not known.

    Args:
        seconds: The duration in seconds.
    """
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"
