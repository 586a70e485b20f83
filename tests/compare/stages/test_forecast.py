import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from peft_lightning.compare.execution.fit_job import FitJob
from peft_lightning.compare.execution.outcomes import Outcome
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.sweep import Part
from peft_lightning.compare.stages.forecast import (
    FILE,
    Forecast,
    RecipeForecast,
    project,
    read_forecast,
    without_first_start,
)
from peft_lightning.compare.stages.forecast_runs import forecast_jobs, refuse_mistakes
from peft_lightning.compare.stages.forecast_words import print_forecast
from peft_lightning.compare.stages.run_batches import Workload
from peft_lightning.errors import UserError
from peft_lightning.runs.record import TimeFigures
from tests.compare.plan.test_plan import OFFLINE, STUDY, resolved
from tests.compare.records import record

# Two epochs of 6 batches in 40 and 20 s, four validation batches in 5 s, and 10 s besides.
TRIED = Workload(train=12, steps=12, validation=4, test=0)


def test_a_run_is_its_batches_at_the_usual_speed_and_what_it_takes_once() -> None:
    made = project("lora", Outcome("finished", None, record(), 0, 75.0), TRIED, Workload(300, 150, 8, 4))
    assert made.step_s == pytest.approx(2 * 20 / 6)
    assert made.test_s == pytest.approx(4 * 5 / 4)
    # 75 s less 60 of training and 5 of evaluation, and the 20 s that the first batches took longer.
    assert made.run_s == pytest.approx((10 + 20) + 300 * 20 / 6 + (8 + 4) * 5 / 4)
    assert (made.startup_s, made.peak_gib, made.peak_of) == (10.0, 0.5, "resident memory")


def test_texts_in_windows_take_the_time_of_their_windows_and_the_longest_are_tried_first() -> None:
    measured = record()
    measured.time.eval_rows = 4 * 32 * 9  # nine windows a text in the four batches tried, in 5 s
    planned = Workload(300, 150, 8, 4, windows=32 * 1.5)
    made = project("lora", Outcome("finished", None, measured, 0, 75.0), TRIED, planned)
    assert made.test_s == pytest.approx(4 * 5 / 4 * 1.5 / 9)
    assert made.run_s == pytest.approx((10 + 20) + 300 * 20 / 6 + (8 + 4) * 5 / 4 * 1.5 / 9)
    cut = project("lora", Outcome("finished", None, measured, 0, 75.0), TRIED, Workload(300, 150, 8, 4))
    assert cut.test_s == pytest.approx(4 * 5 / 4)


def test_a_gpu_s_memory_goes_before_the_resident_one() -> None:
    measured = record()
    measured.memory.train_peak_allocated_gib = 2.5
    made = project("lora", Outcome("finished", None, measured, 0, 75.0), TRIED, TRIED)
    assert (made.peak_gib, made.peak_of) == (2.5, "GPU memory")


def test_what_the_first_process_alone_downloads_is_not_forecast_for_every_run() -> None:
    first, second = RecipeForecast("a", startup_s=100, run_s=150), RecipeForecast("b", startup_s=10, run_s=60)
    assert without_first_start([first, second]) == (RecipeForecast("a", startup_s=10, run_s=60), second)
    for recipes in ([second, first], [first], [first, RecipeForecast("c", error="why")]):
        assert without_first_start(recipes) == tuple(recipes)


def test_a_comparison_takes_as_long_as_its_longest_run_however_many_places_a_cluster_has() -> None:
    runs = (RecipeForecast("a", run_s=120.0), RecipeForecast("b", run_s=100.0))
    # Four runs in 50 places.
    assert Forecast.of_all({None: Forecast(runs, 440 / 50)}).total_s == 120.0
    assert Forecast.of_all({None: Forecast(runs, 440.0)}).total_s == 440.0
    assert Forecast.of_all({"n 1": Forecast(runs, 100.0), "n 2": Forecast(runs, 90.0)}).total_s == 190.0
    assert Forecast.of_all({"n 1": Forecast(runs, 100.0), "n 2": Forecast(runs, None)}).total_s is None


def test_what_was_not_timed_is_said_and_not_guessed() -> None:
    untimed = record()
    untimed.time.epoch_s = []
    made = project("lora", Outcome("finished", None, untimed, 0, 75.0), TRIED, TRIED)
    assert made.error == "the steps tried were not timed"
    assert made.run_s is None


def test_the_short_fits_are_short_and_never_touch_the_test_split(tmp_path: Path) -> None:
    plan = build_plan(STUDY[:2], [7, 8], [OFFLINE], ["--trainer.max_steps", "500", "--trainer.max_epochs=9"])
    plan.write(tmp_path)
    jobs = forecast_jobs(Part(plan, tmp_path))
    assert [job.label for job in jobs] == ["full", "lora"]
    config = resolved(jobs[1].settings)
    assert jobs[1].settings["test_after_fit"] is config["test_after_fit"] is False
    trainer = config["trainer"]
    assert (trainer["max_epochs"], trainer["max_steps"], trainer["limit_train_batches"]) == (2, -1, 6)
    assert Path(trainer["default_root_dir"]) == jobs[1].folder == tmp_path / "forecast" / "lora"
    assert config["data"]["n_train"] == 3000  # the reviews of the runs: their tokens are then in the cache


def test_what_runs_that_share_a_gpu_take_is_not_forecast() -> None:
    shared = replace(record(), not_measured="runs shared the GPU", time=TimeFigures(steps=12))
    made = project("a", Outcome("finished", None, shared, 0, 30.0), TRIED, Workload(100, 100, 4, 8))
    assert made == RecipeForecast("a", steps=100, not_measured="runs shared the GPU")
    out = io.StringIO()
    print_forecast(Forecast((made, replace(made, label="b")), None), 3, 0, Console(file=out, width=80))
    assert out.getvalue().count("time and memory are not forecast: runs shared the GPU") == 1


def test_a_forecast_reads_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    assert read_forecast(tmp_path) is None
    forecast = Forecast((RecipeForecast("a", 1, 2, 3, 4, 50, 6), RecipeForecast("b", error="no memory")), None)
    forecast.write(tmp_path)
    assert read_forecast(tmp_path) == forecast
    assert forecast.run_s == {"a": 50}
    assert forecast.try_s == {"a": 46}
    for text in ("{", "[]", '{"schema": 99}', '{"schema": 1}'):
        (tmp_path / FILE).write_text(text)
        assert read_forecast(tmp_path) is None


def test_the_table_says_what_is_known_and_what_memory_it_means() -> None:
    out = io.StringIO()
    recipes = (
        RecipeForecast("lora", 9, 0.25, 1125, 8, 300, 0.61, "resident memory"),
        RecipeForecast("full", error="out of memory: [20 GiB]"),
    )
    print_forecast(Forecast(recipes, None), 3, 0, Console(file=out, width=80))
    printed = " ".join(out.getvalue().split())
    assert "GiB resident memory" in printed
    assert "lora 9 s 0.25 1125 0.61 5 min" in printed
    assert "full – – – – –" in printed
    assert "full: out of memory: [20 GiB]" in printed
    assert "3 runs for each recipe: an unknown time" in printed
    assert max(map(len, out.getvalue().splitlines())) <= 80


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [
        (Outcome("failed", "no such setting", None, 2), True),
        (Outcome("failed", "the loss became NaN", record("failed"), 2), False),
        (Outcome("out_of_memory", "no memory", record("out_of_memory"), 2), False),
        (Outcome("failed", "exit code 1: RuntimeError", None, 1), False),
        (Outcome("finished", None, record(), 0), False),
    ],
)
def test_a_mistake_ends_the_comparison_and_what_breaks_in_training_is_said_and_becomes_a_row(
    outcome: Outcome, refused: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = FitJob("lora", "forecast", tmp_path, {})
    if refused:
        with pytest.raises(UserError, match=f"^lora: {outcome.error}$"):
            refuse_mistakes(job, outcome)
        return
    refuse_mistakes(job, outcome)
    said = capsys.readouterr().out
    assert said == (
        "" if outcome.finished else f"forecast: lora: {outcome.status.replace('_', ' ')}: {outcome.error}\n"
    )
