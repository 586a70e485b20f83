"""Which method to use, by what matters most: memory, time, accuracy, or the size of what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from peft_lightning.compare.fairness import listing
from peft_lightning.compare.report import words
from peft_lightning.compare.report.figures import Figures, timed_alike
from peft_lightning.compare.statistics import Statistics
from peft_lightning.compare.statistics.words import points
from peft_lightning.runs.row import duration


@dataclass(frozen=True)
class Recommendation:
    """An answer to one question.

    Args:
        question: What matters most.
        answer: The recipe, or recipes that measured the same; empty where it was not measured.
        figure: Its figure.
        reason: What else to know, in sentences.
    """

    question: str
    answer: str
    figure: str
    reason: str


def recommend(rows: Sequence[Figures], statistics: Statistics | None) -> tuple[Recommendation, ...]:
    """Answers the four questions.

    Args:
        rows: The figures of every recipe.
        statistics: The tests; None where there are none.
    """
    return (
        _smallest_gpu(rows, statistics),
        _fastest(rows, statistics),
        _most_accurate(rows, statistics),
        _least(
            "Smallest checkpoint",
            rows,
            statistics,
            lambda row: row.checkpoint_bytes,
            lambda row: words.megabytes(row.checkpoint_bytes),
            "No run kept a checkpoint.",
        ),
    )


def _smallest_gpu(rows: Sequence[Figures], statistics: Statistics | None) -> Recommendation:
    question = "Smallest GPU"
    measured = [row for row in rows if row.gpu_largest_gib is not None]
    if measured:
        found = _least(
            question,
            measured,
            statistics,
            lambda row: row.gpu_largest_gib,
            lambda row: words.gibibytes(row.gpu_largest_gib),
            "",
        )
        winner = min(measured, key=lambda row: row.gpu_largest_gib or 0.0)
        largest = "The largest peak of all seeds counts: the card must hold it." if winner.finished > 1 else ""
        room = f"Torch held {words.gibibytes(winner.gpu_largest_reserved_gib)}; CUDA's own context comes on top."
        reasons = (largest, found.reason, room)
        return Recommendation(question, found.answer, found.figure, " ".join(filter(None, reasons)))
    reason = "No run used a GPU, so what a GPU would need was not measured."
    resident = [row for row in rows if row.cpu_resident_gib is not None]
    if resident:
        winner = min(resident, key=lambda row: row.cpu_resident_gib or 0.0)
        reason += f" On this CPU {winner.label}'s process stayed smallest ({words.gibibytes(winner.cpu_resident_gib)})."
    return Recommendation(question, "", "", reason)


def _fastest(rows: Sequence[Figures], statistics: Statistics | None) -> Recommendation:
    alike, elsewhere = timed_alike(rows)
    found = _least(
        "Fastest",
        alike,
        statistics,
        lambda row: row.train_s,
        lambda row: duration(row.train_s),
        "No time was recorded.",
    )
    if not elsewhere:
        return found
    return replace(found, reason=f"{found.reason} Not compared, on another device: {listing(elsewhere)}.".strip())


def _least(
    question: str,
    rows: Sequence[Figures],
    statistics: Statistics | None,
    value: Callable[[Figures], float | None],
    word: Callable[[Figures], str],
    nothing: str,
) -> Recommendation:
    measured = sorted(((figure, row) for row in rows if (figure := value(row)) is not None), key=lambda pair: pair[0])
    if not measured:
        return Recommendation(question, "", "", nothing)
    least, winner = measured[0]
    same = [row.label for figure, row in measured if figure == least]
    sentences = [_cost(winner.label, statistics) if len(same) == 1 else ""]
    if len(same) < len(measured):
        next_least, following = measured[len(same)]
        times = f" ({_ratio(next_least / least)})" if least > 0 else ""
        sentences.append(f"Next is {following.label} with {word(following)}{times}.")
    return Recommendation(question, listing(same), word(winner), " ".join(filter(None, sentences)))


def _ratio(times: float) -> str:
    if times < 1.1:
        return f"{100 * (times - 1):.0f} % more" if times >= 1.005 else "nearly the same"
    return f"{times:.1f} times" if times < 100 else f"{times:,.0f} times"


def _most_accurate(rows: Sequence[Figures], statistics: Statistics | None) -> Recommendation:
    question = "Most accurate"
    measured = [row for row in rows if row.accuracy is not None]
    if not measured:
        return Recommendation(question, "", "", "No run was tested.")
    if statistics is None:
        best = max(row.accuracy or 0.0 for row in measured)
        top = [row.label for row in measured if row.accuracy == best]
        return Recommendation(question, listing(top), words.percent(best), "Whether that is chance was not tested.")
    # Only those that answered the same reviews can be held against each other.
    best = max(method.accuracy for method in statistics.methods)
    top = [method.method for method in statistics.methods if method.accuracy == best]
    alike = [label for label in not_told_apart(top[0], statistics) if label not in top]
    sentences = []
    if len(top) > 1:
        sentences.append("They measured the same.")
    if alike:
        sentences.append(f"Not told apart from {'it' if len(top) == 1 else top[0]}: {listing(alike)}.")
    worse = [method.method for method in statistics.methods if method.method not in (*top, *alike)]
    if worse:
        sentences.append(f"Worse beyond chance: {listing(worse)}.")
    return Recommendation(question, listing(top), words.percent(best), " ".join(sentences))


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


def _cost(label: str, statistics: Statistics | None) -> str:
    """Says what a recipe that was not chosen for its accuracy has of it."""
    own = next((method for method in statistics.methods if method.method == label), None) if statistics else None
    if statistics is None or own is None:
        return ""
    best = max(statistics.methods, key=lambda method: method.accuracy)
    if own.accuracy == best.accuracy:
        return "None was more accurate."
    gap = points(best.accuracy - own.accuracy)
    if best.method in not_told_apart(label, statistics):
        return f"In accuracy it is not told apart from the best, {best.method} ({gap} points below)."
    return f"It is {gap} points less accurate than {best.method}."
