import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_operators_of_a_step_add_up_and_the_table_names_them(shape: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    command = [sys.executable, str(ROOT / "benchmarks" / "step_profile.py"), "--shape", str(shape), "--out", str(out)]
    command += ["--methods", "full", "ia3", "--batch_size", "2", "--max_length", "16", "--steps", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((out / "step_profile.json").read_text())
    assert written["command"].startswith("python benchmarks/step_profile.py --shape DIR --out DIR --methods full ia3 ")
    profiles = written["profiles"]
    engines = ["eager", "graph", "compiled"] if torch.cuda.is_available() else ["eager"]
    assert [(one["method"], one["engine"]) for one in profiles] == [(m, e) for m in ("full", "ia3") for e in engines]
    for one in profiles:
        took = [kernel[1] for kernel in one["kernels"]]
        assert took == sorted(took, reverse=True)
        assert 0 < sum(took) <= one["busy_ms"]
        assert one["launches"] > 50
    table = (out / "step_profile.md").read_text()
    assert all(kernel[0][:100] in table for one in profiles for kernel in one["kernels"])
