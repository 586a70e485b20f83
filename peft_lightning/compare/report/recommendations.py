"""Recommends a method for each of four needs: memory, time, quality, or the size of the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from peft_lightning.compare.fairness.settings import listing, short_listing
from peft_lightning.compare.report import figure_words as words
from peft_lightning.compare.report.figures import Figures, of_the_same_data, timed_alike
from peft_lightning.compare.report.ranking import Recommendation, alone, least, not_told_apart
from peft_lightning.compare.statistics import Statistics
from peft_lightning.runs.durations import duration
from peft_lightning.task import Metric

# If times, or resident memory, differ by no more than this factor, one run of each recipe does not tell which has less.
NEAR = 1.1


def recommend(rows: Sequence[Figures], statistics: Statistics | None, metric: Metric) -> tuple[Recommendation, ...]:
    """Answers the four questions.

    Args:
        rows: The figures of every recipe.
        statistics: The tests; None if there are none.
        metric: The headline metric.
    """
    compared, elsewhere = of_the_same_data(rows)
    tests = _among(compared, statistics) if elsewhere else statistics
    no_run = "No run" if not elsewhere else "No run on the comparison's own data"
    answers = (
        _smallest_gpu(compared, tests, metric, no_run),
        _fastest(compared, tests, metric),
        _best(compared, tests, metric, no_run),
        least(
            "Smallest checkpoint",
            compared,
            tests,
            metric,
            lambda row: row.checkpoint_bytes,
            words.megabytes,
            f"{no_run} kept a checkpoint.",
        ),
    )
    if not elsewhere:
        return answers
    left = f"Not compared, on other data: {listing(elsewhere)}."
    return tuple(replace(answer, reason=f"{answer.reason} {left}".strip()) for answer in answers)


def _among(rows: Sequence[Figures], statistics: Statistics | None) -> Statistics | None:
    """Returns the tests of these recipes only; their p-values stay corrected for all pairs."""
    labels = {row.label for row in rows}
    if statistics is None:
        return None
    methods = tuple(method for method in statistics.methods if method.method in labels)
    pairs = tuple(pair for pair in statistics.differences if {pair.first, pair.second} <= labels)
    return replace(statistics, methods=methods, differences=pairs) if pairs else None


def _smallest_gpu(
    rows: Sequence[Figures], statistics: Statistics | None, metric: Metric, no_run: str
) -> Recommendation:
    question = "Smallest GPU"
    measured = [row for row in rows if row.gpu_largest_gib is not None]
    if measured:
        found = least(question, measured, statistics, metric, lambda row: row.gpu_largest_gib, words.gibibytes, "")
        winner = min(measured, key=lambda row: row.gpu_largest_gib or 0.0)
        largest = "The largest peak of all seeds counts: the card must hold it." if winner.finished > 1 else ""
        room = f"Torch held {words.gibibytes(winner.gpu_largest_reserved_gib)}; CUDA's own context comes on top."
        return replace(found, reason=" ".join(filter(None, (largest, found.reason, room))))
    if shared := next((row.not_measured for row in rows if row.not_measured), ""):
        return Recommendation(question, "", "", f"Not measured: {shared}.")
    reason = f"{no_run} used a GPU, so what a GPU would need was not measured."
    resident = [row for row in rows if row.cpu_resident_gib is not None]
    if len(resident) > 1:
        reason += f" {_smallest_process(resident, metric)}"
    return Recommendation(question, "", "", reason)


def _smallest_process(rows: Sequence[Figures], metric: Metric) -> str:
    """Says in sentences whose process stayed smallest on a CPU, without what it loses in the headline metric."""
    found = least(
        "",
        rows,
        None,
        metric,
        lambda row: row.cpu_resident_gib,
        words.gibibytes,
        "",
        lambda row: row.cpu_resident_each_gib,
    )
    if any(found.answer == row.label for row in rows):
        sentence = f"On this CPU {found.answer}'s process stayed smallest ({found.figure})."
    else:
        sentence = f"On this CPU the processes of {found.answer} took {found.figure}."
    unknown = _unknown_spread([row.cpu_resident_each_gib for row in rows], "resident memory differs by itself")
    return " ".join(filter(None, (sentence, found.reason, unknown)))


def _unknown_spread(each: Sequence[Sequence[float]], what: str) -> str:
    """Says that a close lead may be chance if every recipe has a single run; else returns an empty text."""
    if any(len(values) != 1 for values in each):
        return ""
    first, second = sorted(values[0] for values in each)[:2]
    return f"With one run each, how much {what} was not measured." if first < second <= NEAR * first else ""


def _fastest(rows: Sequence[Figures], statistics: Statistics | None, metric: Metric) -> Recommendation:
    alike, elsewhere = timed_alike(rows)
    shared = next((row.not_measured for row in rows if row.not_measured), "")
    found = least(
        "Fastest",
        alike,
        statistics,
        metric,
        lambda row: row.train_s,
        duration,
        f"Not measured: {shared}." if shared else "No time was recorded.",
        lambda row: row.train_s_each,
    )
    reasons = [found.reason]
    if found.answer:
        reasons.append(_unknown_spread([row.train_s_each for row in alike], "times differ by themselves"))
    if elsewhere:
        reasons.append(f"Not compared, on another device: {listing(elsewhere)}.")
    return replace(found, reason=" ".join(filter(None, reasons)))


def _best(rows: Sequence[Figures], statistics: Statistics | None, metric: Metric, no_run: str) -> Recommendation:
    question = metric.most
    measured = {row.label: row.headline for row in rows if row.headline is not None}
    if not measured:
        # A metric may be undefined on the reviews that runs were tested on.
        lacks = f"has a value of {metric.name}" if any(row.finished for row in rows) else "was tested"
        return Recommendation(question, "", "", f"{no_run} {lacks}.")
    if len(measured) == 1:
        (label, value), *_ = measured.items()
        return alone(question, label, metric.words(value))
    if statistics is None:
        best = metric.best(measured.values())
        top = [label for label, value in measured.items() if value == best]
        return Recommendation(question, listing(top), metric.words(best), "Whether that is chance was not tested.")
    # Only recipes that answered the same reviews are compared.
    best = max(method.mean for method in statistics.methods)
    top = [method.method for method in statistics.methods if method.mean == best]
    alike = [label for label in not_told_apart(top[0], statistics) if label not in top]
    sentences = []
    if len(top) > 1:
        sentences.append("They measured the same.")
    if alike:
        sentences.append(f"Not told apart from {'it' if len(top) == 1 else top[0]}: {short_listing(alike)}.")
    worse = [method.method for method in statistics.methods if method.method not in (*top, *alike)]
    if worse:
        sentences.append(f"Worse beyond chance: {short_listing(worse)}.")
    return Recommendation(question, short_listing(top), metric.words(metric.oriented(best)), " ".join(sentences))
