"""Which recipes no other beats in both respects."""

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Finds the Pareto front: no other point costs as little or less and is as good or better, one of them strictly.

    Args:
        points: What each recipe costs (less is better) and how good it is (more is better).

    Returns:
        The names on the front, cheapest first.
    """
    names = [
        name
        for name, (cost, good) in points.items()
        if not any(
            other_cost <= cost and other_good >= good and (other_cost, other_good) != (cost, good)
            for other_cost, other_good in points.values()
        )
    ]
    return sorted(names, key=lambda name: points[name])
