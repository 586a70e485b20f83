"""The answer to a question that asks for the least of something, and what else to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft_lightning.compare.fairness.settings import listing
from peft_lightning.compare.report.figures import Figures
from peft_lightning.compare.statistics import Statistics
from peft_lightning.task import Metric


@dataclass(frozen=True)
class Recommendation:
    """An answer to one question.

    Args:
        question: What matters most.
        answer: The recipe, or recipes that are not told apart; empty where there is no answer.
        figure: Its figure.
        reason: What else to know, in sentences.
        instead: What stands in the answer's place where there is none.
    """

    question: str
    answer: str
    figure: str
    reason: str
    instead: str = "not measured"


def alone(question: str, label: str, figure: str) -> Recommendation:
    """Answers a question to which there is one candidate: nothing is the most or the least among one.

    Args:
        question: What matters most.
        label: The candidate.
        figure: Its figure.
    """
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
        question: What matters most.
        rows: The figures of the recipes that may be it.
        statistics: The tests, for what it costs in the headline metric; None where there are none.
        metric: That metric.
        value: Of what it has the least; None where that was not measured.
        word: Words the value.
        nothing: What to say where no recipe measured it.
        each: The value of every single run, of something that is not the same in every run: recipes whose runs overlap
            with the first one's are named with it.
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
    answer = listing([row.label for _, row in same])
    return Recommendation(question, answer, " to ".join(ends), " ".join(filter(None, sentences)))


def _ratio(times: float) -> str:
    if times < 1.1:
        return f"{100 * (times - 1):.0f} % more" if times >= 1.005 else "nearly the same"
    return f"{times:.1f} times" if times < 100 else f"{times:,.0f} times"


def not_told_apart(label: str, statistics: Statistics) -> list[str]:
    """Lists the recipes that the test does not tell apart from one.

    Args:
        label: The recipe.
        statistics: The tests.
    """
    return [
        pair.second if pair.first == label else pair.first
        for pair in statistics.differences
        if label in (pair.first, pair.second) and not pair.told_apart
    ]


def _cost(label: str, statistics: Statistics | None, metric: Metric) -> str:
    """Says how good a recipe is that was not chosen for that."""
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
