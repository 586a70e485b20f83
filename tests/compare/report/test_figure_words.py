import pytest

from peft_lightning.compare.report import figure_words as words
from peft_lightning.task import FIRST


@pytest.mark.parametrize(
    ("gib", "said"),
    [
        (None, "–"),
        (0.0, "0.00 GiB"),
        (1.354, "1.35 GiB"),
        (0.0044, "4.5 MiB"),
        (0.0002, "210 KiB"),
        (12.0, "12.00 GiB"),
    ],
)
def test_memory_in_the_unit_that_shows_it(gib: float | None, said: str) -> None:
    assert words.gibibytes(gib) == said


def test_nothing_measured_is_a_dash() -> None:
    for word in (words.count, words.percent, words.megabytes, words.number, words.rate, FIRST.headline.words):
        assert word(None) == "–"
    assert words.span(None, FIRST.headline) == "–"


@pytest.mark.parametrize(("rate", "said"), [(2e-5, "2e-5"), (1e-3, "1e-3"), (2.5e-4, "2.5e-4")])
def test_learning_rates(rate: float, said: str) -> None:
    assert words.scientific(rate) == said
