"""The Pareto front: the recipes that no other beats in both cost and quality."""

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Finds the Pareto front: the points for which no other is as good at the same or less cost, and better in one.

    Args:
        points: Cost (less is better) and quality (more is better) of each recipe.

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
