from pathlib import Path

import pytest

import scale


def test_the_table_has_a_row_for_each_number_of_runs() -> None:
    steps = {name: {"cpu_s": 3.14, "peak_rss_gib": 0.5} for name in ("plan", "resume", "report")}
    watched = {"cpu_ms_a_second": 30.0, "lines": 21.0, "at_once": 50.0}
    heading, _, row = scale.as_markdown({"1000": {**steps, "watch": watched}}).splitlines()
    assert heading.startswith("| runs | plan |")
    assert row == ("| 1,000 | 3.1 s, 0.50 GiB | 3.1 s, 0.50 GiB | 3.1 s, 0.50 GiB | 30 ms | 0.60 ms | 21 of 24 |")


@pytest.mark.slow
def test_generated_runs_are_watched_and_reported_as_trained_ones(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    scale.generate(folder, 20, 200)
    for name in ("plan", "resume", "report"):
        assert scale.step(name, folder, 2, 1.0)["cpu_s"] > 0
    assert (folder / "report.html").is_file()
    watched = scale.step("watch", folder, 5, 1.5)
    assert 0 < watched["cpu_ms_a_second"] < 1000
    assert watched["lines"] <= scale.HEIGHT
