"""The table of cost over sizes and devices, from what measurements have left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import cost_by_size

MACHINE = {"gpu": "a card", "cpu": "a processor", "versions": {"torch": "2.11", "adapters": None}}


def write(folder: Path, *rows: dict[str, Any]) -> None:
    base = {"kind": "step", "peer": "ours", "variant": "bf16", "method": "lora", "batch_size": 8, "max_length": 256}
    base |= {"steps": 40, "repeat": 0, "status": "finished", "error": None, "process_s": 9.0}
    records = {str(number): base | row for number, row in enumerate(rows)}
    folder.mkdir()
    (folder / "vs_peers.json").write_text(json.dumps({"about": {"machine": MACHINE}, "records": records}))


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["cost_by_size.py", *words])
    return cost_by_size.main()


def test_sizes_stand_in_their_order_and_what_was_not_measured_is_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", {"figures": {"ms_per_step": 4.0}})  # as records were, without a number of devices
    single = {"figures": {"ms_per_step": 100.0, "peak_allocated_gib": 14.25, "startup_s": 20.0}, "devices": 1}
    write(tmp_path / "b", single, {"figures": {"ms_per_step": 125.0}, "devices": 2})
    table = tmp_path / "table.md"
    assert called(monkeypatch, f"0.1={tmp_path / 'a'}", f"7={tmp_path / 'b'}", "--out", str(table)) == 0
    rows = [row for row in table.read_text().splitlines() if row.startswith("|")][2:]
    assert rows == [
        "| 0.1 | lora | ours | bf16 | 8 × 256 | 1 | 4.0 | 2,000.0 | – | – | – | – | – | – | – |",
        "| 7 | lora | ours | bf16 | 8 × 256 | 1 | 100.0 | 80.0 | – | 14.25 | – | – | 20.0 | – | – |",
        "| 7 | lora | ours | bf16 | 8 × 256 | 2 | 125.0 | 128.0 | 80 % | – | – | – | – | – | – |",
    ]
    assert "* 0.1, 7: a card; torch 2.11" in table.read_text()


def test_a_folder_without_a_measurement_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, f"7={tmp_path}") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"cost_by_size: {tmp_path} has no vs_peers.json: name folders that were an --out of vs_peers.py"
    ]
