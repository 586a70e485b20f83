"""Joining folders: what may stand in one table does, and what may not ends in one line that says why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.errors import UserError
from side_by_side.join import joined
from side_by_side.markdown_tables import as_markdown
from side_by_side.peer_job import PeerJob, identity
from side_by_side.results import Results, held

Make = Callable[..., Any]
WORK = {"backbone": "random weights", "config_sha256": "5e19", "learning_rate": 1e-4}
MACHINE = {"gpu": "NVIDIA H100", "cpu": "Xeon", "versions": {"torch": "2.11.0", "peft": "0.21.0"}}
METHODS = ("full", "lora")


@pytest.fixture
def job(wanted: Make) -> Callable[..., PeerJob]:
    """Names a job of the small measurement."""

    def make(peer: str = "ours", method: str = "lora", kind: str = "step", **where: int) -> PeerJob:
        size = where.get("batch_size", 8), where.get("max_length", 64)
        made: PeerJob = wanted(steps=where.get("steps", 10)).job(
            kind, peer, "fp32", method, *size, where.get("repeat", 0)
        )
        return made

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder as a call leaves it."""

    def make(name: str, *measured: tuple[PeerJob, dict[str, Any]], **about: Any) -> Path:
        about = {"commands": [f"vs_peers {name}"], "machine": MACHINE, "adapters_site": {}, "work": WORK} | about
        results = Results(tmp_path / name, about)
        for done, record in measured:
            results.add(done.key, identity(done) | record)
        return tmp_path / name

    return make


def floor(own_ms: float, tokens: float = 9.0, status: str = "finished") -> dict[str, Any]:
    methods = {m: {"gflop": 1.0, "optimizer_mb": 2.0, "floor_own_ms": own_ms, "floor_square_ms": 1.0} for m in METHODS}
    figures: dict[str, Any] = {"methods": methods, "square": 64, "tokens_per_step": tokens, "bandwidth_gb_per_s": 1.0}
    figures |= {f"{shape}_tflops_{dtype}": 1.0 for shape in ("own", "square") for dtype in ("float32", "bfloat16")}
    return {"status": status, "error": None, "process_s": 1.0, "figures": figures if status == "finished" else {}}


def refusal(*folders: Path) -> str:
    with pytest.raises(UserError) as raised:
        joined(folders)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_methods_of_two_gpus_stand_in_one_table_which_says_so(folder: Make, job: Make, finished: Make) -> None:
    one = folder("one", (job("hf-study", "full"), finished(40.0)), (job("ours", "full"), finished(10.0)))
    two = folder("two", (job("hf-study", "lora"), finished(30.0)), (job("ours", "lora"), finished(5.0)))
    about, records = joined([one, two])
    table = as_markdown(about, records)
    for method, times in (("full", "4.00"), ("lora", "6.00")):
        row = next(line for line in table.splitlines() if line.startswith(f"| {method} | ours "))
        assert f"| {times} |" in row
    assert "vs_peers one\nvs_peers two" in table
    assert "joined from 2 folders" in table
    assert table.count("NVIDIA H100") == 1
    assert "floor measured in more" not in table


def test_of_two_floors_the_first_is_kept_and_the_table_says_so(folder: Make, job: Make, finished: Make) -> None:
    measured = job("floor", "full", "floor")
    one = folder("one", (measured, floor(1.0)), (job("ours", "full"), finished(10.0)))
    two = folder("two", (measured, floor(2.0)), (job("ours", "lora"), finished(10.0)))
    about, records = joined([two, one])
    assert records[measured.key]["figures"]["methods"]["lora"]["floor_own_ms"] == 2.0
    assert "all shares are of the first: batch 8, 64 tokens, 10 steps" in as_markdown(about, records)


def share_of_floor(records: Mapping[str, Any], about: Mapping[str, Any], method: str) -> str:
    """The cell of the one row of a method that says how much of a step the floor explains."""
    steps = as_markdown(about, records).split("## Peak memory")[0]
    (row,) = (line for line in steps.splitlines() if line.startswith(f"| {method} |"))
    return row.split(" | ")[9]


def test_a_share_is_of_the_floor_over_the_same_steps_whichever_folder_comes_first(
    folder: Make, job: Make, finished: Make
) -> None:
    # More steps train on more reviews, whose batches hold other tokens.
    short, long = {"steps": 10}, {"steps": 20}
    one = folder(
        "one", (job("floor", "full", "floor", **short), floor(1.0)), (job("ours", "full", **short), finished(10.0))
    )
    two = folder(
        "two", (job("floor", "full", "floor", **long), floor(3.0)), (job("ours", "lora", **long), finished(10.0))
    )
    for folders in ([one, two], [two, one]):
        about, records = joined(folders)
        assert share_of_floor(records, about, "full") == "10 %"
        assert share_of_floor(records, about, "lora") == "30 %"
        assert about["joined"]["floors_of_several"] == []
        assert "batch 8, 64 tokens, 20 steps: 9 tokens a step" in as_markdown(about, records)


def test_a_floor_over_other_steps_is_no_floor(folder: Make, job: Make, finished: Make) -> None:
    one = folder("one", (job("floor", "full", "floor", steps=20), floor(1.0)))
    about, records = joined([one, folder("two", (job("ours", "full"), finished(10.0)))])
    assert share_of_floor(records, about, "full") == "–"


def test_a_floor_that_failed_gives_way_to_one_that_finished(folder: Make, job: Make) -> None:
    measured = job("floor", "full", "floor")
    one, two = folder("one", (measured, floor(1.0, status="failed"))), folder("two", (measured, floor(2.0)))
    about, records = joined([one, two])
    assert records[measured.key]["status"] == "finished"
    assert about["joined"]["floors_of_several"] == []


def test_floors_of_other_reviews_are_told_by_their_tokens(folder: Make, job: Make) -> None:
    measured = job("floor", "full", "floor")
    one, two = folder("one", (measured, floor(1.0))), folder("two", (measured, floor(1.0, tokens=11.0)))
    assert "different reviews" in refusal(one, two)


def test_the_same_record_twice_is_one(folder: Make, job: Make, finished: Make) -> None:
    # As after copying a folder and going on in the copy; a loss that is NaN is the same loss.
    same = (job("hf-study"), finished(40.0, final_loss=float("nan")))
    one, two = folder("one", same), folder("two", same, (job("ours"), finished(10.0)))
    assert len(joined([one, two])[1]) == 2


def test_two_figures_of_one_record_are_refused(folder: Make, job: Make, finished: Make) -> None:
    said = refusal(folder("one", (job(), finished(40.0))), folder("two", (job(), finished(41.0))))
    assert "different figures" in said
    assert job().key in said


@pytest.mark.parametrize("kind", ["step", "trial", "whole"])
def test_rows_that_would_be_compared_and_were_not_measured_side_by_side_are_refused(
    kind: str, folder: Make, job: Make, finished: Make
) -> None:
    one = folder("one", (job("hf-study", kind=kind), finished(40.0)), (job("ours", "full"), finished(9.0)))
    two = folder("two", (job("ours", kind=kind), finished(10.0)))
    said = refusal(one, two)
    assert f"`{kind}` of lora" in said
    assert str(one) in said
    assert str(two) in said
    assert "full" not in said


def test_a_repeat_of_its_own_is_no_way_around_that(folder: Make, job: Make, finished: Make) -> None:
    said = refusal(folder("one", (job(), finished(40.0))), folder("two", (job(repeat=1), finished(40.0))))
    assert "side by side" in said


def test_sizes_of_a_method_may_lie_in_two_folders_but_not_of_whole_jobs(
    folder: Make, job: Make, finished: Make
) -> None:
    other = {"batch_size": 16}
    one, two = folder("one", (job(), finished(9.0))), folder("two", (job(**other), finished(9.0)))
    assert len(joined([one, two])[1]) == 2
    # Their table has no size: it compares all jobs of a method.
    three = folder("three", (job(kind="whole"), finished(9.0)))
    four = folder("four", (job(kind="whole", **other), finished(9.0)))
    assert "`whole` of lora in" in refusal(three, four)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"machine": MACHINE | {"gpu": "NVIDIA H200"}}, "gpu is NVIDIA H100 and NVIDIA H200"),
        ({"machine": MACHINE | {"versions": {"torch": "2.12.0", "peft": "0.21.0"}}}, "torch is 2.11.0 and 2.12.0"),
        ({"work": WORK | {"learning_rate": 2e-4}}, "learning_rate is 0.0001 and 0.0002"),
        ({"work": WORK | {"config_sha256": "ffff"}}, "config_sha256 is 5e19 and ffff"),
    ],
)
def test_what_differs_is_refused_by_name(
    changed: dict[str, Any], said: str, folder: Make, job: Make, finished: Make
) -> None:
    one = folder("one", (job("ours", "full"), finished(9.0)))
    message = refusal(one, folder("two", (job("ours", "lora"), finished(9.0)), **changed))
    assert message.endswith(said), "and nothing else differs"


def test_packages_of_adapters_may_be_missing_but_not_differ(folder: Make, job: Make, finished: Make) -> None:
    none = folder("none", (job("ours", "full"), finished(9.0)))
    old = folder("old", (job("ours", "lora"), finished(9.0)), adapters_site={"adapters": "1.2.0"})
    new = folder("new", (job("ours", "ia3"), finished(9.0)), adapters_site={"adapters": "1.3.0"})
    assert joined([none, old])[0]["adapters_site"] == {"adapters": "1.2.0"}
    assert "adapters is 1.2.0 and 1.3.0" in refusal(none, old, new)


def test_what_holds_no_measurement_is_refused(folder: Make, job: Make, finished: Make, tmp_path: Path) -> None:
    good = folder("good", (job(), finished(9.0)))
    assert "missing has no vs_peers.json" in refusal(good, tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "vs_peers.json").write_text(json.dumps([1]))
    assert "is not what vs_peers.py writes" in refusal(good, tmp_path / "bad")


def test_a_folder_that_is_still_being_measured_is_refused(folder: Make, job: Make, finished: Make) -> None:
    one = folder("one", (job(), finished(9.0)))
    with held(one):
        assert "another call is measuring" in refusal(one)


def test_what_is_joined_is_neither_joined_again_nor_measured_into(folder: Make, job: Make, finished: Make) -> None:
    both = folder("both", (job(), finished(9.0)), joined={"folders": 2, "floors_of_several": []})
    assert "itself joined" in refusal(both)
    with pytest.raises(UserError, match="joined from other folders"):
        folder("both")
