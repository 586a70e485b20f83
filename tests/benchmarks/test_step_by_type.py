"""Steps of every recipe: which runs there are, their turns, and the tables; at a tiny size and on a CPU."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

import step_by_type
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.errors import UserError
from side_by_side.gates import Gate, pass_gate
from side_by_side.step_table import FORMS, StepResults, as_markdown, within_bound
from side_by_side.waves import Steps, Timed
from tournament import recipes

ROOT = Path(__file__).resolve().parents[2]
ABOUT: dict[str, Any] = {"commands": ["python …"], "machine": {"gpu": "a card"}, "work": {"batch_size": 8}}


def measured(ms: float, engine: str = "graph", peak: float = 1.0, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    figures = {"status": "measured", "ms_per_step": ms, "engine": engine, "peak_allocated_gib": peak}
    return figures | {"peak_reserved_gib": peak, "trainable": 1000, "notes": list(notes)}


def results_of(folder: Path, records: dict[str, dict[str, Any]]) -> StepResults:
    results = StepResults(folder, ABOUT)
    for name, record in records.items():
        results.add(name, record)
    return results


def test_every_recipe_has_its_forms_and_one_that_is_in_four_bits_has_two() -> None:
    files = [Path(file) for file in recipes()]
    runs = [(form, file.stem) for form, file in step_by_type.wanted(FORMS, files)]
    packed = {name for form, name in runs if form == "captured"} - {name for form, name in runs if form == "nf4"}
    assert packed == {"qlora", "qdora", "qmiss", "qvera"}
    assert len(runs) == len(set(runs)) == 3 * len(files) - len(packed)
    assert [form for form, _ in runs] == sorted((form for form, _ in runs), key=FORMS.index)


def test_a_form_changes_the_recipe_s_engine_width_and_batches_alone(tmp_path: Path) -> None:
    asked = step_by_type._arguments(["--backbone", "embedded", "--out", str(tmp_path)])
    path = ROOT / "configs/peft/adalora.yaml"
    before = yaml.safe_load(path.read_text())
    forms = {form: step_by_type.settings_of(path, form, asked, "folder", tmp_path) for form in FORMS}
    assert [made["engine"] for made in forms.values()] == ["graph", "eager", "graph"]
    assert [made["model"].get("quantization") for made in forms.values()] == [None, None, "nf4"]
    for made in forms.values():
        assert made["trainer"] == before["trainer"] | {"precision": "bf16-mixed"}
        assert {name for name in made["model"] if made["model"][name] != before["model"].get(name)} <= {
            *("model_name_or_path", "backbone_dtype", "quantization"),
        }
        assert made["data"]["n_train"] >= 8 * Steps(step_by_type.WARMUP, step_by_type.SETTLE, 30).all
    full = step_by_type.settings_of(ROOT / "configs/full.yaml", "captured", asked, "folder", tmp_path)
    assert (full["model"]["backbone_dtype"], forms["nf4"]["model"]["backbone_dtype"]) == ("float32", "bfloat16")


def test_the_first_table_is_sorted_by_the_captured_step_and_says_what_is_beyond_the_bound(tmp_path: Path) -> None:
    why = "this step cannot be captured in a CUDA graph (a copy): steps run eager from here on"
    results = results_of(
        tmp_path,
        {
            "boft/captured": measured(40.0, "eager", notes=("weights are drawn", why)),
            "lora/captured": measured(4.0),
            "ia3/captured": measured(3.0),
            "vera/captured": measured(10.0),
            "oft/captured": {"status": "failed", "why": "out of memory"},
            "lora/eager": measured(40.0, "eager", peak=0.75),
        },
    )
    assert within_bound(results, ["boft", "lora", "ia3", "vera", "oft"]) == (["lora", "ia3", "vera"], ["boft"])
    lines = as_markdown(results).splitlines()
    table = [line for line in lines if line.startswith("| `")]
    assert [line.split("`")[1] for line in table] == ["ia3", "lora", "vera", "boft", "oft"]
    assert table[1] == "| `lora` | 4.00 | 250 | 1.00 | 40.00 | 25 | 10.00 | 1.000 | 0.750 | 1,000 |"
    assert table[3].startswith("| `boft` (1) | 40.00 | 25 | 10.00 | – | – | – |")
    assert f"1. `boft` ran eager: {why}" in lines
    assert "2. `oft` failed: out of memory" in lines
    assert "3 of 4 recipes step within 2.5 × of LoRA's captured step; beyond: `boft`." in lines


def test_the_second_table_says_what_four_bits_save_and_which_types_refuse(tmp_path: Path) -> None:
    results = results_of(
        tmp_path,
        {
            "lora/captured": measured(4.0, peak=1.25),
            "qlora/captured": measured(6.0, peak=0.5),
            "loha/captured": measured(8.0),
            "lora/nf4": measured(5.0, peak=1.0),
            "loha/nf4": {"status": "refused", "why": "LOHA cannot be put beside nf4 (LORA, VERA can): leave it out"},
        },
    )
    second = as_markdown(results).split("## On a backbone in four bits (NF4)")[1].splitlines()
    assert "| `lora` | 5.00 | 1.25 | 1.000 | 1.250 | 0.250 |" in second
    assert "| `qlora` | 6.00 | 1.50 | 0.500 | – | – |" in second
    assert "- `loha` – refused: LOHA cannot be put beside nf4: leave it out" in second


def test_what_was_measured_is_not_measured_again_and_never_mixed(tmp_path: Path) -> None:
    results_of(tmp_path, {"lora/eager": measured(4.0), "oft/eager": {"status": "failed", "why": "a crash"}})
    again = StepResults(tmp_path, ABOUT)
    assert again.has("lora", "eager", retry=True)
    assert not again.has("lora", "nf4")
    assert [again.has("oft", "eager", retry) for retry in (False, True)] == [True, False]
    with pytest.raises(UserError, match="another work"):
        StepResults(tmp_path, ABOUT | {"work": {"batch_size": 16}})


def test_what_is_measured_again_is_compared_with_the_baseline_beside_it(tmp_path: Path) -> None:
    first = {"lora/captured": measured(4.0), "hra/captured": measured(12.0), "ia3/captured": measured(8.0)}
    results_of(tmp_path, first)
    later = StepResults(tmp_path, ABOUT | {"commands": ["python … --again"]})
    for name, ms in (("lora/captured", 5.0), ("hra/captured", 10.0), ("ia3/nf4", 15.0)):
        later.add(name, measured(ms))
    read = StepResults(tmp_path, ABOUT)
    assert {name: read.times_baseline(record) for name, record in read.records.items()} == {
        "lora/captured": 1.0,
        "hra/captured": 2.0,
        "ia3/captured": 2.0,
        "ia3/nf4": 3.0,
    }
    assert within_bound(read, ["lora", "hra", "ia3"]) == (["lora", "hra", "ia3"], [])
    lines = as_markdown(read).splitlines()
    words = "Ratios are to LoRA's captured step in the same call: 4.00 ms for `ia3`; 5.00 ms for the others."
    assert lines.count(words) == 1
    assert [line for line in lines if line.startswith("python")] == ["python …", "python … --again"]


def test_the_docs_hold_the_tables_that_the_committed_records_make() -> None:
    folder = ROOT / "benchmarks/results/step_by_type_h200"
    content = json.loads((folder / "step_by_type.json").read_text())
    written = (folder / "step_by_type.md").read_text()
    assert as_markdown(StepResults(folder, content)) == written
    tables = written.partition("\n\n")[2].strip()
    assert tables in (ROOT / "docs/peft_types.md").read_text()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--recipes", "hra", "road"], [("captured", "road")]),
        (["--recipes", "hra", "road", "--again"], [("captured", "lora"), ("captured", "hra"), ("captured", "road")]),
        (["--recipes", "hra", "--forms", "eager", "--again"], [("eager", "hra")]),
    ],
)
def test_again_means_what_is_asked_for_and_the_baseline_of_captured_steps(
    words: list[str], left: list[tuple[str, str]], tmp_path: Path
) -> None:
    results = results_of(tmp_path, {"lora/captured": measured(4.0), "hra/captured": measured(12.0)})
    words = ["--backbone", "embedded", "--out", str(tmp_path), "--forms", "captured", *words]
    asked = step_by_type._arguments(words)
    assert [(form, file.stem) for form, file in step_by_type.left_of(asked, results)] == left


def test_a_run_that_came_to_no_figures_says_why() -> None:
    refused = Timed(Outcome("failed", "no such\ntype", exit_code=2), None, None)
    assert step_by_type.record_of(refused, 3) == {"status": "refused", "why": "no such type"}
    late = Timed(Outcome("failed", "killed by SIGKILL", exit_code=-9), None, "its first steps")
    assert step_by_type.record_of(late, 3) == {"status": "failed", "why": "its first steps took too long"}


def test_a_gate_lets_nobody_through_until_it_is_opened(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    waiting = threading.Thread(target=pass_gate, args=(tmp_path / "gate",))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    gate.open()
    waiting.join(60)
    assert not waiting.is_alive()
    pass_gate(tmp_path / "gate")


@pytest.mark.slow
def test_runs_of_a_wave_are_timed_in_turns_and_a_second_call_has_nothing_left(shape: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    words = [sys.executable, str(ROOT / "benchmarks/step_by_type.py"), "--shape", str(shape), "--out", str(out)]
    words += ["--recipes", "lora", "loha", "qlora", "--forms", "captured", "nf4", "--batch_size", "2"]
    words += ["--max_length", "16", "--steps", "3", "--at_once", "5"]

    def call() -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1000)

    done = call()
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((out / "step_by_type.json").read_text())
    records = content["records"]
    assert list(records) == ["lora/captured", "qlora/captured", "loha/captured", "lora/nf4", "loha/nf4"]
    assert (records["loha/nf4"]["status"], "LOHA" in records["loha/nf4"]["why"]) == ("refused", True)
    turns = []
    for name in ("lora/captured", "qlora/captured", "loha/captured", "lora/nf4"):
        assert records[name]["status"] == "measured", records[name]
        assert records[name]["trainable"] > 0
        turns.append(records[name]["timed_from_until_s"])
        assert turns[-1][1] - turns[-1][0] == pytest.approx(3 * records[name]["ms_per_step"] / 1000, abs=0.01)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(turns))
    assert (out / "step_by_type.md").read_text().count("| `lora` ") == 2
    repeated = call()
    assert (repeated.returncode, repeated.stdout) == (0, ""), repeated.stderr
    assert json.loads((out / "step_by_type.json").read_text()) == content
    words += ["--recipes", "loha", "--forms", "captured", "--again"]
    assert call().returncode == 0
    anew = json.loads((out / "step_by_type.json").read_text())["records"]
    assert {
        name for name, record in anew.items() if record["status"] == "measured" and "lora_captured_ms" not in record
    } == {
        "lora/captured",
        "loha/captured",
    }
