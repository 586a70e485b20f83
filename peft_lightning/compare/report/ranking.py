"""Answers the questions that ask which recipe has the least of something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft_lightning.compare.fairness.settings import short_listing
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.statistics import Statistics
from peft_lightning.task import Metric


@dataclass(frozen=True)
class Recommendation:
    """An answer to one question.

    Args:
        question: The quantity that matters most, such as "Smallest GPU".
        answer: The recipe, or recipes that are not told apart; empty if there is no answer.
        figure: The recipe's figure in words.
        reason: Sentences that add what else to know.
        instead: The words in the answer's place if there is no answer.
    """

    question: str
    answer: str
    figure: str
    reason: str
    instead: str = "not measured"


def alone(question: str, label: str, figure: str) -> Recommendation:
    """Answers a question for which only one recipe was measured: there is nothing to compare it with."""
    return Recommendation(question, "", "", f"Only {label} was measured: {figure}.", "nothing to compare with")


def least(
    question: str,
    rows: Sequence[Figures],
    statistics: Statistics | None,
    metric: Metric,
    value: Callable[[Figures], float | None],
    word: Callable[[float], str],
    nothing: str,
    each: Callable[[Figures], Sequence[float]] = lambda _: (),
) -> Recommendation:
    """Finds the recipe with the least of something.

    Args:
        question: The question's heading.
        rows: The figures of the recipes to choose from.
        statistics: The tests, to say what the recipe loses in the headline metric; None if there are none.
        metric: The headline metric.
        value: Returns the value to compare; None if it was not measured.
        word: Words the value.
        nothing: The sentence if no recipe measured the value.
        each: Returns the value of every run, if runs of a recipe differ: recipes whose runs overlap with those of the
            first are named with it.
    """
    measured = sorted(((figure, row) for row in rows if (figure := value(row)) is not None), key=lambda pair: pair[0])
    if not measured:
        return Recommendation(question, "", "", nothing)
    smallest, winner = measured[0]
    if len(measured) == 1:
        return alone(question, winner.label, word(smallest))
    largest = max(each(winner), default=smallest)
    same = [(figure, row) for figure, row in measured if min(each(row), default=figure) <= largest]
    others = [pair for pair in measured if pair not in same]
    ends = dict.fromkeys((word(smallest), word(same[-1][0])))
    sentences = [_cost(winner.label, statistics, metric) if len(same) == 1 else ""]
    if same[-1][0] > smallest:
        sentences.append("No order among them: their single runs overlap.")
    if others:
        times = f" ({_ratio(others[0][0] / smallest)})" if smallest > 0 else ""
        sentences.append(f"Next is {others[0][1].label} with {word(others[0][0])}{times}.")
    answer = short_listing([row.label for _, row in same])
    return Recommendation(question, answer, " to ".join(ends), " ".join(filter(None, sentences)))


def _ratio(times: float) -> str:
    if times < 1.1:
        return f"{100 * (times - 1):.0f} % more" if times >= 1.005 else "nearly the same"
    return f"{times:.1f} times" if times < 100 else f"{times:,.0f} times"


def not_told_apart(label: str, statistics: Statistics) -> list[str]:
    """Returns the recipes that the tests do not tell apart from the recipe ``label``."""
    return [
        pair.second if pair.first == label else pair.first
        for pair in statistics.differences
        if label in (pair.first, pair.second) and not pair.told_apart
    ]


def _cost(label: str, statistics: Statistics | None, metric: Metric) -> str:
    """Says how far a recipe that was chosen for something else is from the best in the headline metric."""
    own = next((method for method in statistics.methods if method.method == label), None) if statistics else None
    if statistics is None or own is None:
        return ""
    best = max(statistics.methods, key=lambda method: method.mean)
    if own.mean == best.mean:
        return f"None was {metric.more}."
    gap = metric.gap(best.mean - own.mean)
    if best.method in not_told_apart(label, statistics):
        place = "below" if metric.higher_is_better else "above"
        return f"In {metric.name} it is not told apart from the best, {best.method} ({gap} {place})."
    return f"It is {gap} {metric.less} than {best.method}."
