import io
from pathlib import Path

import pytest
from rich.console import Console

from peft_lightning.compare.display.live_table import LiveTable
from peft_lightning.compare.display.plain_lines import PlainLines
from peft_lightning.compare.execution.board import Row
from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.runs.progress import Progress
from tests.compare.records import record

FORECAST = {"lora": 60.0, "full": 60.0}
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 4.00 GiB, of which none."


def rows(seeds: int = 3) -> list[Row]:
    return [Row(FitJob(label, f"seed {n}", Path(label), {})) for n in range(seeds) for label in ("lora", "full")]


def drawn(of: list[Row], height: int = 40) -> list[str]:
    """The lines of one drawing of a table, as it stands while the work goes on."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=height)
    table = LiveTable("runs", FORECAST, console=console)
    table.begin(of)
    out.truncate(0)
    out.seek(0)
    console.print(table._drawn(whole=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_plain_lines_are_one_at_the_start_and_one_at_the_end_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    of = rows(1)
    view = PlainLines("runs", FORECAST)
    view.begin(of)
    view.started(of[0])
    view.update()
    of[0].outcome = Outcome("finished", record=record(test_acc=0.843, val_acc=0.9))
    view.ended(of[0])
    of[1].outcome = Outcome("out_of_memory", OUT_OF_MEMORY)
    view.ended(of[1])
    view.end()
    assert capsys.readouterr().out.splitlines() == [
        "runs: 2; about 2 min left",
        "[1/2] lora seed 0: started",
        "[1/2] lora seed 0: finished, 84.3 % test accuracy, 60 s training, 0.50 GiB resident memory; about 60 s left",
        f"[2/2] full seed 0: out of memory: {OUT_OF_MEMORY}",
    ]


def test_a_run_that_is_not_tested_shows_its_validation_accuracy_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    of = rows(1)
    view = PlainLines("learning rates", {})
    of[0].outcome = Outcome("finished", record=record(val_acc=0.9))
    view.begin(of)
    view.ended(of[0])
    begun, ended = capsys.readouterr().out.splitlines()
    assert begun.startswith("learning rates: 2, 1 of them finished before")
    assert "90.0 % validation accuracy" in ended


def test_what_diverged_before_is_not_called_finished(capsys: pytest.CaptureFixture[str]) -> None:
    of = rows(2)
    of[0].outcome = Outcome("finished", record=record(val_acc=0.9))
    of[1].outcome = Outcome("failed", "the loss became infinite or NaN", record("failed"))
    PlainLines("learning rates", {}).begin(of)
    assert "1 of them finished before, 1 of them diverged before" in capsys.readouterr().out


def test_the_live_table_has_a_row_a_run_and_the_time_left_in_80_columns() -> None:
    of = rows()
    of[0].outcome = Outcome("finished", record=record(test_acc=0.843))
    of[1].outcome = Outcome("out_of_memory", OUT_OF_MEMORY)
    of[2].started, of[2].elapsed_s, of[2].progress = True, 30.0, Progress("train", 400, 1125, 22.0)
    of[3].started = True
    lines = drawn(of)
    assert max(map(len, lines)) <= 80
    cells = [" ".join(line.split()) for line in lines]
    assert any(line.startswith("lora seed 0 finished") and line.endswith("100 60 s 84.3 % 0.50") for line in cells)
    assert any(line.startswith("full seed 0 out of memory") for line in cells)
    assert any(line.startswith("lora seed 1 training") and "400/1125 22 s – –" in line for line in cells)
    assert any(line.startswith("full seed 1 starting") for line in cells)
    assert sum("waiting" in line for line in cells) == 2
    assert "2 of 6 done, about 4 min left" in cells
    assert any(line.startswith("full seed 0: out of memory: CUDA") for line in cells)


def test_more_runs_than_lines_show_those_under_way() -> None:
    of = rows(20)
    for row in of[:20]:
        row.outcome = Outcome("finished", record=record(test_acc=0.8))
    of[20].started = True
    lines = drawn(of, height=16)
    assert len(lines) < 16  # a table taller than its terminal would be drawn anew below itself again and again
    text = "\n".join(lines)
    assert "16 above" in text
    assert "16 below" in text
    assert "starting" in text
    assert "20 of 40 done" in text


def of_many(recipes: int = 60, seeds: int = 5) -> list[Row]:
    """The jobs of many recipes in the order in which they start: two fifths have ended, eight run."""
    of = [Row(FitJob(f"recipe-{n}", f"seed {seed}", Path(f"{n}"), {})) for seed in range(seeds) for n in range(recipes)]
    for number, row in enumerate(of[: 2 * recipes]):
        row.outcome = Outcome("finished", record=record(test_acc=0.8 + 0.001 * (number % recipes)))
    of[3].outcome = Outcome("failed", "a reason")
    for row in of[2 * recipes : 2 * recipes + 8]:
        row.started, row.progress = True, Progress("train", 400, 1125, 22.0)
    return of


def test_three_hundred_jobs_fit_a_terminal_of_forty_lines_running_ones_and_recipes_the_best_first() -> None:
    of = of_many()
    lines = drawn(of, height=40)
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80
    cells = [" ".join(line.split()) for line in lines]
    assert "119 finished, 1 failed, 8 running, 172 waiting" in cells
    assert sum("400/1125" in line for line in cells) == 8
    recipes = [line.split()[0] for line in cells if "/5" in line]
    assert recipes[:3] == ["recipe-59", "recipe-58", "recipe-57"]
    assert any(line.startswith("recipe-59 2/5 60 s 85.9 % 0.50") for line in cells)
    assert f"… {60 - len(recipes)} more recipes" in cells
    assert any(line.startswith("120 of 300 done") for line in cells)
    assert any("recipe-3 seed 0: failed: a reason" in line for line in cells)


def test_the_last_drawing_of_many_recipes_has_all_of_them_and_all_reasons() -> None:
    out = io.StringIO()
    table = LiveTable("runs", {}, console=Console(file=out, width=80, height=40))
    of = of_many()
    table.begin(of)
    out.truncate(0)
    table.end()
    printed = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert sum("/5" in line for line in printed) == 60
    assert any(line.startswith("recipe-3 1/5, 1 failed") for line in printed)


def test_a_terminal_with_room_for_every_job_shows_each() -> None:
    assert sum("waiting" in line for line in drawn(of_many(10, 2), height=60)) == 0
    of = rows(1) + [Row(FitJob(f"recipe-{n}", "seed 1", Path(f"{n}"), {})) for n in range(10)]
    assert sum("waiting" in line for line in drawn(of, height=40)) == 12


def test_three_hundred_jobs_are_drawn_when_one_ends_and_else_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing takes up to 40 ms of a processor that the runs may need."""
    of, out = of_many(), io.StringIO()
    table = LiveTable("runs", {}, at_once=8, console=Console(file=out, width=80, height=40))
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    drawn_at = []
    monkeypatch.setattr(table._live, "update", lambda drawn, refresh: drawn_at.append(now))
    table.begin(of)
    for now in (100.5, 101.0, 101.5, 102.0, 102.5):
        if now == 101.0:
            of[120].outcome = Outcome("finished", record=record(test_acc=0.8))
        table.update()
    assert drawn_at == [100.0, 101.0]
    now = 103.0
    table.update()
    assert drawn_at == [100.0, 101.0, 103.0]
    table.end()


def test_the_last_drawing_has_all_rows_and_all_reasons() -> None:
    out = io.StringIO()
    table = LiveTable("runs", FORECAST, console=Console(file=out, width=80, height=16))
    of = rows(20)
    for row in of:
        row.outcome = Outcome("failed", f"why {row.job.title}: [brackets] are no markup")
    table.begin(of)
    table.end()
    printed = out.getvalue()
    for row in of:
        assert f"why {row.job.title}: [brackets] are no markup" in " ".join(printed.split())
