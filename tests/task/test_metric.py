import pytest

from peft_lightning.task.metric import LOSS, Metric
from peft_lightning.task.single_label import SingleLabel

ACCURACY = SingleLabel.headline
ERROR = Metric("mae", "mean absolute error", higher_is_better=False, lowest=0.0)


@pytest.mark.parametrize(("metric", "better", "worse"), [(ACCURACY, 0.9, 0.8), (ERROR, 0.8, 0.9)])
def test_which_way_is_better(metric: Metric, better: float, worse: float) -> None:
    assert metric.improves(better, worse)
    assert not metric.improves(worse, better)
    assert not metric.improves(better, better)
    assert metric.improves(worse, None)
    assert metric.best([worse, better, worse]) == better
    assert metric.place_of_best([worse, better, better]) == 1
    assert metric.oriented(better) > metric.oriented(worse)
    assert metric.oriented(metric.oriented(better)) == better


def test_shares_are_shown_in_per_cent_and_other_figures_as_they_are() -> None:
    assert [ACCURACY.words(value) for value in (0.9125, None)] == ["91.2 %", "–"]
    assert [ERROR.words(value) for value in (0.9125, None)] == ["0.912", "–"]
    # An error has the unit of its labels; a correlation of 0.001 is none.
    assert [ERROR.words(value) for value in (0.0, 0.00123456, 1.5e-7)] == ["0.000", "0.00123", "1.5e-07"]
    assert [metric.plain(0.0056) for metric in (ACCURACY, ERROR)] == ["0.006", "0.0056"]
    assert [ERROR.plain(value, 4) for value in (0.0, 0.91234, 0.0000412349)] == ["0.0000", "0.9123", "4.123e-05"]
    assert ERROR.span(0.00098, 0.0152) == "0.00098 – 0.015"
    assert Metric("pearson", "Pearson", lowest=-1.0, highest=1.0).words(0.00123) == "0.001"
    assert (ACCURACY.span(0.861, 0.902), ERROR.span(0.861, 0.902)) == ("86.1 – 90.2", "0.861 – 0.902")
    assert (ACCURACY.tick(0.975), ERROR.tick(0.975)) == ("97.5 %", "0.975")
    assert (ACCURACY.roughly(0.6), ERROR.roughly(0.6)) == ("60 %", "0.6")
    assert (ACCURACY.gap(0.004), ERROR.gap(0.0041)) == ("0.4 points", "0.0041")
    assert (ERROR.difference(-0.25, signed=True), ERROR.difference(0.25, signed=True)) == ("−0.25", "+0.25")
    assert [ERROR.difference(value) for value in (0.0, -2e-50, 2e-9)] == ["0.0", "0.0", "2e−09"]


def test_a_metric_without_an_adjective_still_makes_sentences() -> None:
    assert (ACCURACY.most, ACCURACY.more, ACCURACY.less, ACCURACY.good) == (
        "Most accurate", "more accurate", "less accurate", "accurate"
    )  # fmt: skip
    assert (ERROR.most, ERROR.more, ERROR.less, ERROR.good) == ("Best mean absolute error", "better", "worse", "good")
    assert (ERROR.title, ERROR.slug) == ("Mean absolute error", "mean-absolute-error")


def test_a_task_knows_its_metrics_by_the_names_that_are_logged() -> None:
    assert SingleLabel.metric("val/acc") is ACCURACY
    assert SingleLabel.metric("test/f1").name == "F1"
    assert SingleLabel.metric("val/loss") is LOSS
    assert SingleLabel.metric("val/mine") == Metric("mine", "mine")
