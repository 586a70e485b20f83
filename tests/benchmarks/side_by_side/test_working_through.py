"""A measurement in several calls: what goes on, what is left alone, and what ends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.errors import UserError
from side_by_side.peer_job import PeerJob
from side_by_side.results import Results, held
from side_by_side.wanted import Wanted
from side_by_side.working_through import pending, work_through

Make = Callable[..., Any]
FAILED = {"status": "failed", "error": "ValueError: no", "process_s": 1.0, "figures": {}}


class Scripted:
    """Stands in for starting processes: notes the jobs and answers with records."""

    def __init__(self, answer: Callable[[PeerJob], dict[str, Any]]) -> None:
        self.keys: list[str] = []
        self._answer = answer

    def __call__(self, job: PeerJob, limit_s: float) -> dict[str, Any]:
        self.keys.append(job.key)
        return self._answer(job)


def test_repeats_are_interleaved_so_that_a_drift_of_the_machine_hits_all_peers(
    wanted: Make, results: Make, finished: Make
) -> None:
    run = Scripted(lambda job: finished(1.0))
    assert work_through(wanted(), results(), run)
    order = [(key.split("/")[1], key.split("/")[-1]) for key in run.keys]
    assert order == [("floor", "r0"), ("hf-study", "r0"), ("ours", "r0"), ("hf-study", "r1"), ("ours", "r1")]


def test_the_next_call_goes_on_where_the_budget_ended(wanted: Make, results: Make, finished: Make) -> None:
    asked: Wanted = wanted()
    said: list[str] = []
    first = Scripted(lambda job: finished(1.0, process_s=10_000.0))
    assert not work_through(asked, results(), first, budget_s=60, say=said.append), "a process of that length won't fit"
    # After the floor: nothing is known of steps yet, so one is tried; it took too long for a second one.
    assert [key.split("/")[0] for key in first.keys] == ["floor", "step"]
    assert "3 processes are left" in said[-1]
    second = Scripted(lambda job: finished(1.0))
    assert work_through(asked, results(), second)
    assert len(second.keys) == 3
    assert not set(first.keys) & set(second.keys)
    assert work_through(asked, results(), third := Scripted(lambda job: finished(1.0)))
    assert third.keys == []


def test_a_process_that_the_budget_cut_short_is_no_failure(wanted: Make, results: Make) -> None:
    run = Scripted(lambda job: {"status": "timed_out", "error": None, "process_s": 50.0, "figures": {}})
    assert not work_through(wanted(), results(), run, budget_s=100, time_limit_s=600)
    assert results().records == {}
    assert work_through(wanted(), results(), run, time_limit_s=50)
    assert {record["status"] for record in results().records.values()} == {"timed_out"}


def test_a_failed_process_becomes_a_row_and_the_others_go_on(wanted: Make, results: Make, finished: Make) -> None:
    run = Scripted(lambda job: FAILED if job.peer == "hf-study" else finished(1.0))
    assert work_through(wanted(), results(), run)
    assert len(run.keys) == 5
    assert pending(wanted(), results(), retry=False) == []
    assert [job.peer for job in pending(wanted(), results(), retry=True)] == ["hf-study", "hf-study"]


def test_the_trial_decides_which_variant_is_measured(wanted: Make, results: Make, finished: Make) -> None:
    asked = wanted(peers=["hf-best"], repeats=1)
    times = {"fp32-padded-fused-w0": 30.0, "bf16-padded-fused-w0": 20.0}
    run = Scripted(lambda job: finished(times.get(job.variant, 1.0)))
    assert work_through(asked, results(), run)
    assert [key.split("/")[:3] for key in run.keys[1:]] == [
        ["trial", "hf-best", "fp32-padded-fused-w0"],
        ["trial", "hf-best", "bf16-padded-fused-w0"],
        ["step", "hf-best", "bf16-padded-fused-w0"],
    ]


def test_where_no_variant_works_the_row_says_so_and_nothing_is_guessed(wanted: Make, results: Make) -> None:
    asked = wanted(peers=["hf-best"], repeats=1)
    assert work_through(asked, results(), Scripted(lambda job: FAILED))
    row = next(record for record in results().records.values() if record["kind"] == "step")
    assert (row["status"], row["figures"]) == ("not_measured", {})
    assert "trial" in row["error"]


def test_what_was_not_measured_is_tried_again(wanted: Make, results: Make, finished: Make) -> None:
    absent: dict[str, Any] = {"status": "not_measured", "error": "no --adapters_site", "process_s": None, "figures": {}}
    asked = wanted(peers=["adapters"], repeats=1)
    assert work_through(asked, results(), Scripted(lambda job: absent))
    again = Scripted(lambda job: finished(1.0))
    assert work_through(asked, results(), again)
    assert [key.split("/")[1] for key in again.keys] == ["floor", "adapters", "adapters"]


def test_figures_of_another_machine_are_not_mixed(wanted: Make, results: Make, finished: Make) -> None:
    work_through(wanted(), results(), Scripted(lambda job: finished(1.0)))
    with pytest.raises(UserError, match="another machine"):
        results(machine={"gpu": "another", "versions": {}})
    with pytest.raises(UserError, match="another work"):
        results(work={"lr": 2})


def test_two_calls_at_once_are_refused_because_one_would_lose_the_others_records(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UserError, match="another call"), held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_every_command_that_made_the_file_is_in_it(wanted: Make, results: Make, finished: Make) -> None:
    for command in ("one", "two", "one"):
        made: Results = results(commands=[command])
        made.write()
    assert json.loads(made.path.read_text())["about"]["commands"] == ["one", "two"]


def test_a_whole_job_is_measured_for_those_that_do_the_studys(wanted: Make, results: Make, finished: Make) -> None:
    asked = wanted(peers=["hf-study", "lightning", "ours"], repeats=1, whole_job=True)
    run = Scripted(lambda job: finished(1.0))
    work_through(asked, results(), run)
    whole = [key.split("/")[1] for key in run.keys if key.startswith("whole")]
    assert whole == ["hf-study", "ours"]
    job = next(
        job for job in pending(asked, results(), retry=False) or [asked.job("whole", "ours", "x", "lora", 8, 64)]
    )
    assert (job.steps, job.n_train, job.n_test) == (6, 24, 8)


def test_another_overlay_is_another_row(wanted: Make) -> None:
    plain, graph = wanted(ours={"a": ()}), wanted(ours={"a": ("--config", "configs/fast.yaml")})
    key, other = (asked.job("step", "ours", "a", "lora", 8, 64).key for asked in (plain, graph))
    assert key != other


def rows(keys: list[str]) -> list[str]:
    return ["/".join(key.split("/")[:3]) + (" on 2" if "/d2/" in key else "") for key in keys]


def test_a_decoder_has_no_floor_and_a_single_variant_needs_no_trial(
    wanted: Make, results: Make, finished: Make
) -> None:
    peers = ["hf-best", "hf-checkpointed", "ours"]
    asked = wanted(recipes="decoder", peers=peers, repeats=1, trial_variants=1, ours={"bf16": ()})
    work_through(asked, results(), run := Scripted(lambda job: finished(1.0)))
    variant = "bf16-grouped-fused-w0"
    assert rows(run.keys) == [f"step/hf-best/{variant}", f"step/hf-checkpointed/{variant}", "step/ours/bf16"]


def test_several_devices_follow_one_and_fsdp_shards_full_fine_tuning_alone(
    wanted: Make, results: Make, finished: Make
) -> None:
    peers = ["hf-best", "hf-fsdp2", "ours"]
    asked = wanted(
        recipes="decoder", peers=peers, methods=["lora", "full"], repeats=1, devices=[1, 2], trial_variants=1
    )
    work_through(asked, results(), run := Scripted(lambda job: finished(1.0)))
    variant = "bf16-grouped-fused-w0"
    alone = [f"step/hf-best/{variant}", "step/ours/fp32"]
    spread = [f"{row} on 2" for row in alone]
    assert rows(run.keys) == [*alone, *spread, *alone, spread[0], f"step/hf-fsdp2/{variant} on 2", spread[1]]


def test_the_study_and_adapters_are_measured_on_one_device(wanted: Make, results: Make, finished: Make) -> None:
    asked = wanted(peers=["hf-study", "adapters", "lightning"], repeats=1, devices=[2])
    work_through(asked, results(), run := Scripted(lambda job: finished(1.0)))
    assert rows(run.keys)[1:] == ["step/lightning/32-true on 2", "step/lightning/bf16-mixed on 2"]


def test_each_device_has_batches_of_its_own(wanted: Make) -> None:
    asked = wanted(devices=[1, 2]).with_tokens(lambda job: job.n_train / 10)
    alone, spread = (asked.job("step", "ours", "fp32", "lora", 8, 64, 0, devices) for devices in (1, 2))
    assert (alone.n_train, spread.n_train) == (80, 160)
    assert (alone.tokens_per_step, spread.tokens_per_step) == (8 * 8.0, 2 * 8 * 16.0)
    whole = wanted(whole_job=True).job("whole", "ours", "fp32", "lora", 8, 64, 0, 2)
    assert (whole.n_train, whole.steps) == (24, 4)


def test_an_encoder_on_one_device_keeps_its_key(wanted: Make) -> None:
    assert (
        wanted().job("step", "ours", "fp32", "lora", 8, 64).key == "step/ours/fp32/lora/b8/l64/s10-4/n80-0/lr0.0001/r0"
    )
