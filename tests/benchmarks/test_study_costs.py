"""The study's memory and time columns, measured: here at a tiny size and on a CPU, which shows that it runs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import study_costs

ROOT = Path(__file__).resolve().parents[2]
RECORDS = "lightning_logs/compare/study_costs/runs/*/seed_1/lightning_logs/*/*/results.json"


def measurement(shape: Path, reviews: Path, out: Path) -> tuple[list[str], dict[str, str]]:
    """The command line of a small measurement, and its environment."""
    command = [sys.executable, str(ROOT / "benchmarks" / "study_costs.py"), "--shape", str(shape)]
    command += ["--reviews", str(reviews), "--out", str(out), "--data.n_train", "24", "--data.n_val", "8"]
    command += ["--data.n_test", "8", "--data.max_length", "16", "--trainer.max_epochs", "1"]
    return command, os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(out.parent / "cache")}


@pytest.mark.slow
def test_every_recipe_of_the_study_is_measured_alone_and_what_a_cpu_has_not_is_null(
    shape: Path, reviews: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    command, environment = measurement(shape, reviews, out)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((out / "study_costs.json").read_text())
    assert list(results) == ["full", "lora", "qlora", "ia3", "qlora-checkpointed"]
    for label, measured in results.items():
        assert measured["time"]["steps"] == 3, label
        assert measured["status"] == "finished", label
        assert measured["environment"]["device"], label
        assert measured["memory"]["train_peak_allocated_gib"] is None, "a CPU has no GPU memory"
    table = (out / "study_costs.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:7]] == [f"| {label}" for label in results]
    assert table[5].startswith("| ia3 | 2.85 | – | 7.9 | 0.0 | ")
    configs = {
        path.parts[-6]: path.read_text()
        for path in tmp_path.glob("lightning_logs/compare/study_costs/runs/*/seed_1/lightning_logs/*/*/config.yaml")
    }
    assert configs.keys() == results.keys()
    checkpointed = {label for label, text in configs.items() if "gradient_checkpointing: true" in text}
    assert checkpointed == {"qlora-checkpointed"}


@pytest.mark.slow
def test_ctrl_c_leaves_the_rows_there_are(shape: Path, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    command, environment = measurement(shape, reviews, out)
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        # A shell's background job is deaf to it, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        until = time.monotonic() + 500
        while not any('"finished"' in path.read_text() for path in tmp_path.glob(RECORDS)):
            assert time.monotonic() < until
            time.sleep(0.2)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(300) != 0
    results = json.loads((out / "study_costs.json").read_text())
    assert results["full"]["time"]["steps"] == 3
    assert results["ia3"] is None
    again = subprocess.run(
        [*command, "--recipes", "ia3"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stdout + again.stderr
    both = json.loads((out / "study_costs.json").read_text())
    assert both["full"] == results["full"], "a row of the call before stays"
    assert both["ia3"]["status"] == "finished"


def test_rows_of_another_call_stay_and_a_run_that_broke_off_shows_no_figures() -> None:
    def row(status: str, seconds: float) -> dict[str, object]:
        memory = {"train_peak_allocated_gib": 1.25, "train_peak_reserved_gib": 1.5}
        time = {"train_s": seconds, "steps": 10}
        return {"status": status, "memory": memory, "time": time, "environment": {"device": "a GPU"}}

    before = {"full": row("finished", 60), "ia3": None, "qlora-checkpointed": row("interrupted", 9)}
    rows = study_costs.merged(before, {"full": row("interrupted", 3), "qlora-checkpointed": row("finished", 120)})
    assert list(rows) == ["full", "ia3", "qlora-checkpointed"]
    lines = study_costs.as_markdown(rows | {"lora": row("interrupted", 3)}).splitlines()
    assert lines[2] == "| full | 2.64 | 1.25 (1.50) | 10.2 | 1.0 | 6000.0 |"
    assert lines[4] == "| qlora-checkpointed | 1.36 | 1.25 (1.50) | 11.2 | 2.0 | 12000.0 |"
    assert lines[5] == "| lora | 1.48 | interrupted | 7.6 | – | – |"
    assert lines[7] == "* full, qlora-checkpointed: device a GPU"
