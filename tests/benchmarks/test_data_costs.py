from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import data_costs
from side_by_side.generated_rows import write_rows

ROOT = Path(__file__).resolve().parents[2]


def test_generated_rows_are_the_same_in_every_call_and_of_the_stated_size(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_rows(tmp_path / name, "short", 200)
    first, second = (pq.read_table(tmp_path / name).to_pydict() for name in ("a.parquet", "b.parquet"))
    assert first == second
    assert {len(text.split()) for text in first["text"]} == {30}
    assert len(set(first["text"])) > 190
    assert set(first["label"]) == {0, 1}
    write_rows(tmp_path / "c.csv", "whole", 20)
    written = (tmp_path / "c.csv").read_text()
    assert written.startswith('"text","label"\n')
    assert written.count('",0\n') == written.count('",1\n') == 10


def test_ratios_are_of_medians_and_after_is_divided_by_before() -> None:
    def starts(*walls: float) -> dict[str, Any]:
        return {
            which: [{"wall_s": s, "cpu_s": 2 * s, "peak_rss_gib": 1.0} for s in walls] for which in data_costs.STARTS
        }

    table = data_costs.as_markdown({"9 rows": {"before": starts(10, 90, 20), "after": starts(5, 5, 5)}})
    assert (
        table.splitlines()[2] == "| 9 rows | first | 20.00 | 5.00 | 40.00 | 10.00 | 1.00 | 1.00 | 0.25 | 0.25 | 1.00 |"
    )


@pytest.mark.slow
def test_a_start_is_measured_to_its_first_step(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", "short", 100)
    figures = data_costs.start(ROOT, tmp_path / "rows.parquet", tmp_path / "cache", ("--data.max_length", "16"), 600)
    assert figures["cpu_s"] > 0
    assert 0 < figures["wall_s"] < 600
    assert 0.1 < figures["peak_rss_gib"] < 8
    assert figures["data"]["n_train"] == 72
    with pytest.raises(RuntimeError, match=r"no first step.*data.max_length takes 8 or more"):
        data_costs.start(ROOT, tmp_path / "rows.parquet", tmp_path / "cache", ("--data.max_length", "1"), 600)
