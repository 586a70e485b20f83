"""Peers side by side, for real: at a tiny size and on a CPU, which shows that they run and train the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def vs_peers(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = ["--reviews", str(place / "reviews"), "--shape", str(place / "shape"), "--out", str(place / "out")]
    size = ["--methods", "lora", "--repeats", "1", "--steps", "4", "--warmup_steps", "2", "--max_lengths", "16"]
    return run(place, *places, *size, *words)


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "vs_peers.py"), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1000)


@pytest.mark.slow
def test_a_dry_run_lists_the_processes_and_starts_none(shape: Path, reviews: Path, tmp_path: Path) -> None:
    done = vs_peers(tmp_path, "--dry_run", "--peers", "hf-study", "ours", "--ours", "graph=--config configs/x.yaml")
    assert done.returncode == 0, done.stderr
    kinds = [line.split("/")[:3] for line in done.stdout.splitlines()]
    assert kinds == [["floor", "floor", "floor"], ["step", "hf-study", "defaults"], ["step", "ours", "graph"]]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_folders_are_joined_without_measuring_and_once_only(tmp_path: Path) -> None:
    figures = {"ms_per_step": 10.0, "final_loss": 0.5}
    for folder, method in (("one", "full"), ("two", "lora")):
        about = {"commands": [f"vs_peers --methods {method}"], "machine": {"gpu": "a card", "versions": {}}}
        about |= {"adapters_site": {}, "work": {"learning_rate": 1e-4}}
        row = {"kind": "step", "peer": "ours", "variant": "fp32", "method": method, "batch_size": 8, "max_length": 64}
        row |= {"steps": 10, "repeat": 0, "status": "finished", "error": None, "process_s": 1.0, "figures": figures}
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vs_peers.json").write_text(json.dumps({"about": about, "records": {method: row}}))
    done = run(tmp_path, "--join", "one", "two", "--out", "both")
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "both" / "vs_peers.md").read_text()
    for words in ("| full | ours | fp32 | 10.0 |", "| lora | ours | fp32 | 10.0 |", "joined from 2 folders"):
        assert words in table
    content = json.loads((tmp_path / "both" / "vs_peers.json").read_text())
    assert list(content["records"]) == ["full", "lora"]
    assert str(tmp_path) not in json.dumps(content)
    again = run(tmp_path, "--join", "one", "two", "--out", "both")
    assert again.returncode == 2
    assert again.stderr.splitlines() == ["vs_peers: both already holds a vs_peers.json: choose another --out"]


@pytest.mark.slow
def test_measuring_needs_reviews_and_joining_takes_no_settings(tmp_path: Path) -> None:
    done = run(tmp_path, "--backbone", "embedded", "--out", "out")
    assert (done.returncode, "--reviews" in done.stderr.splitlines()[-1]) == (2, True)
    done = run(tmp_path, "--join", "one", "--out", "out", "--methods", "lora", "--dry_run")
    assert done.returncode == 2
    assert done.stderr.endswith("leave out --methods, --dry_run\n")


@pytest.mark.slow
def test_two_peers_train_the_same_and_what_a_cpu_has_not_is_null(shape: Path, reviews: Path, tmp_path: Path) -> None:
    words = ("--peers", "hf-study", "adapters", "ours", "--ours", "fp32=", "--ours", "bad=--trainer.precision 7")
    done = vs_peers(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    content: dict[str, Any] = json.loads((tmp_path / "out" / "vs_peers.json").read_text())
    rows = {(record["peer"], record["variant"]): record for record in content["records"].values()}
    study, ours = rows["hf-study", "defaults"]["figures"], rows["ours", "fp32"]["figures"]
    assert study["steps"] == ours["steps"] == 4
    assert study["trained_parameters"] == ours["trained_parameters"]
    # Untrained on two classes: both begin at ln 2.
    assert study["final_loss"] == pytest.approx(0.69, abs=0.1)
    assert ours["final_loss"] == pytest.approx(0.69, abs=0.1)
    for figures in (study, ours):
        assert figures["ms_per_step"] > 0
        assert figures["peak_allocated_gib"] is figures["peak_driver_gib"] is None
    assert rows["adapters", "fp32-padded-fused-w0"]["status"] == "not_measured"
    assert rows["ours", "bad"]["status"] == "failed", "and the others went on"
    assert rows["floor", "floor"]["figures"]["methods"]["lora"]["floor_own_ms"] > 0
    assert content["about"]["machine"]["versions"]["torch"]
    assert "--reviews DIR --shape DIR --out DIR --methods lora" in content["about"]["commands"][0]
    table = (tmp_path / "out" / "vs_peers.md").read_text()
    assert "| lora | hf-study | defaults |" in table


@pytest.mark.slow
def test_two_processes_of_a_decoder_train_the_same_under_the_trainer_and_here(
    decoder_shape: Path, reviews: Path, tmp_path: Path
) -> None:
    places = ["--reviews", str(reviews), "--shape", str(decoder_shape), "--out", str(tmp_path / "out")]
    size = ["--methods", "lora", "--repeats", "1", "--steps", "4", "--warmup_steps", "2", "--max_lengths", "16"]
    words = ["--peers", "hf-best", "ours", "--ours", "bf16=", "--trial_variants", "1", "--scratch", str(tmp_path)]
    done = run(tmp_path, *places, *size, *words, "--devices", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads((tmp_path / "out" / "vs_peers.json").read_text())["records"]
    trainer, ours = (record["figures"] for record in records.values())
    for figures in (trainer, ours):
        assert figures["steps"] == 4
        assert [rank["ms_per_step"] > 0 for rank in figures["ranks"]] == [True, True]
        # Of both processes' mean: a sum of means would be twice as much.
        assert figures["final_loss"] == pytest.approx(0.69, abs=0.1)
    assert trainer["trained_parameters"] == ours["trained_parameters"]
    table = (tmp_path / "out" / "vs_peers.md").read_text()
    assert "### Batch 8, 16 tokens, 2 devices" in table
    assert "## What a step, a start and memory cost" in table
    (decoder,) = tmp_path.glob("decoder.*")
    assert (decoder / "complete").exists(), "kept for the next call"


@pytest.mark.slow
def test_more_devices_than_there_are_end_in_a_line(decoder_shape: Path, reviews: Path, tmp_path: Path) -> None:
    words = ["--reviews", str(reviews), "--shape", str(decoder_shape), "--out", "out", "--devices", "1", "4096"]
    done = run(tmp_path, *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("vs_peers: --devices 4096: this machine has ")
