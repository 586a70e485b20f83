import pytest

from peft_lightning.runs.durations import duration, round_duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (0.44, "0.4 s"), (59.9, "59.9 s"), (60, "1.0 min"), (7200, "120.0 min")]
)
def test_a_measured_time_is_worded_to_a_tenth(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (7200, "2.0 h")]
)
def test_an_estimate_is_worded_as_one_says_it(seconds: float | None, words: str) -> None:
    assert round_duration(seconds) == words
