"""Words for the report's figures. A figure that was not measured is a dash, never 0."""

from peft_lightning.compare.statistics import Interval
from peft_lightning.task.metric import DASH as DASH
from peft_lightning.task.metric import Metric


def count(value: float | None) -> str:
    """Words a whole number."""
    return DASH if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Words a share in 0 to 1 as a percentage with that many decimals."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


def span(interval: Interval | None, metric: Metric) -> str:
    """Words an interval of a metric."""
    return DASH if interval is None else metric.span(interval.low, interval.high)


def gibibytes(value: float | None) -> str:
    """Words an amount of memory in GiB."""
    if value is None:
        return DASH
    if value >= 0.1 or value == 0:
        return f"{value:.2f} GiB"
    return f"{1024 * value:.1f} MiB" if value >= 1 / 1024 else f"{1024**2 * value:.0f} KiB"


def megabytes(value: float | None) -> str:
    """Words the size of a file in bytes."""
    if value is None:
        return DASH
    megabyte = value / 1e6
    return f"{megabyte:,.0f} MB" if megabyte >= 100 else f"{megabyte:.1f} MB" if megabyte >= 0.1 else f"{value:,.0f} B"


def number(value: float | None, digits: int = 3) -> str:
    """Words a number with that many significant digits."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def rate(value: float | None) -> str:
    """Words a throughput, a number per second."""
    return DASH if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def scientific(value: float) -> str:
    """Words a setting in scientific notation: 2e-5."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def chance(p_value: float) -> str:
    """Words a p-value in 0 to 1."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def runs(count: int) -> str:
    """Words a number of seeds."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def texts(count: int) -> str:
    """Words a number of texts."""
    return f"{count:,} text" if count == 1 else f"{count:,} texts"
