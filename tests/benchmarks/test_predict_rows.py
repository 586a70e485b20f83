import time
from pathlib import Path

import pytest

import predict_rows
import serving
from side_by_side.mixed_texts import mixed_texts


def test_texts_of_mixed_lengths_are_the_same_in_every_call() -> None:
    texts = mixed_texts(400)
    assert mixed_texts(400) == texts
    lengths = sorted(len(text.split()) for text in texts)
    assert 12 < lengths[200] < 30
    assert lengths[-1] > 5 * lengths[200]


def test_rates_leave_out_what_a_start_takes() -> None:
    start = {"wall_s": 9.0, "cpu_s": 8.0, "peak_rss_mib": 500.0, "rows": 1}
    many = {"wall_s": 20.0, "cpu_s": 18.0, "peak_rss_mib": 600.0, "rows": 100}
    killed = {**many, "same_bytes": True}
    table = predict_rows.as_markdown(
        {"1 row": {"ours": start}, "100 rows": {"ours": many}, "killed halfway": {"ours": killed}}
    )
    assert table.splitlines()[2:] == [
        "| 1 row | ours | 9.0 | 8.0 | – | 500 |",
        "| 100 rows | ours | 20.0 | 18.0 | 10.0 | 600 |",
        "| killed halfway | ours | 20.0 | 18.0 | – | 600 |",
    ]


def test_a_servers_row_says_how_much_faster_ours_is() -> None:
    ours, other = ({"texts_per_s": rate, "p50_ms": 10.0, "p99_ms": 20.0} for rate in (90.0, 30.0))
    assert serving.as_markdown({"ours": ours, "other": other}).splitlines()[2:] == [
        "| ours | 90.0 | 10 | 20 | 1.0 |",
        "| other | 30.0 | 10 | 20 | 3.0 |",
    ]


def test_a_process_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        predict_rows.measured(["/bin/sh", "-c", "exit 3"], tmp_path, 60)
    figures = predict_rows.measured(["/bin/sh", "-c", "true"], tmp_path, 60)
    assert figures["peak_rss_mib"] > 0


def test_a_process_is_killed_at_a_size_of_its_answers_and_one_that_ends_before_is_none(tmp_path: Path) -> None:
    answers = tmp_path / "out.unfinished"
    writing = f"while true; do printf x >> {answers}; sleep 0.01; done"
    predict_rows.killed(["/bin/sh", "-c", writing], tmp_path, answers, 5)
    size = predict_rows.size_of(answers)
    assert size >= 5
    time.sleep(0.1)
    assert predict_rows.size_of(answers) == size
    with pytest.raises(RuntimeError, match="ended with 0 before it could be killed"):
        predict_rows.killed(["/bin/sh", "-c", "true"], tmp_path, tmp_path / "none", 5)
    other = tmp_path / "other.unfinished"
    writing = f"printf xyz > {other}; sleep 0.5; rm {other}"
    figures = predict_rows.measured(["/bin/sh", "-c", writing], tmp_path, 60, other)
    assert figures["answers_bytes"] == 3
