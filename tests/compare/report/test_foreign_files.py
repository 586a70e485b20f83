"""Files that are damaged or not ours, in the place of those that a comparison's runs leave."""

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.compare.execution.outcomes import finished_before, newest_record
from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.report import write_report
from peft_lightning.compare.report.attempts import Attempts
from peft_lightning.compare.report.figures import summarise
from peft_lightning.compare.report.findings import find
from peft_lightning.compare.report.hiding import NOTHING
from peft_lightning.compare.report.reading import read_run, read_study
from peft_lightning.compare.report.sections.conditions import describe_fairness
from peft_lightning.compare.report.sections.pictures import curves
from peft_lightning.compare.stages.forecast import FILE as FORECAST
from peft_lightning.compare.stages.forecast import Forecast, RecipeForecast, read_forecast
from peft_lightning.compare.stages.tuning import FILE as TUNING
from peft_lightning.compare.stages.tuning import read_tuning
from peft_lightning.errors import UserError
from peft_lightning.runs.progress import Progress, read_progress
from tests.compare.report.records import IA3, LORA, comparison, fail, tune
from tests.compare.report.test_writing import table
from tests.samples import mostly_slow

# As JSON spells them: some are of the right type in some fields, and must then do no harm.
FOREIGN = (
    "null", "true", '"0.9"', '["w", "x"]', "[]", "{}", '{"a": [1]}', "-1", "0.5", "1e308", "1e999", "NaN", "-Infinity",
    "1" + "0" * 399, r'"\ud800"', r'"a\u0000b\u001b[2J\nc"', '"=1+1"', '"$x$ | <b> {{ 7 }} %s"', '"../../x"', '""',
    '"' + "w" * 5000 + '"',
)  # fmt: skip
# In the place of a whole JSON file.
NO_FILES: tuple[str | bytes, ...] = (
    "", "{", "null", "[]", "5", '"record"', "[" * 100_000, '{"a":' * 100_000, '{"schema": 4}', '{"schema": [4]}',
    '{"schema": 1e400}', b"\xff\xfe{\x00}\x00", b"\x89PNG\r\n", b"\x00" * 64, "9" * 5000,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison in order, tuned and forecast."""
    folder = comparison(tmp_path_factory.mktemp("whole") / "mine", {"lora": LORA, "ia3": IA3}, (1, 2), 40)
    tune(folder, {"lora": 2, "ia3": 2})
    Forecast((RecipeForecast("lora", 1.0, 0.1, 9, 1.0, 3.0, 0.5, "GPU memory"),), 6.0).write(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "mine"))


def run_of(folder: Path) -> Path:
    """The run that is spoilt."""
    return folder / "runs/lora/seed_1/lightning_logs/lora/version_0"


def places(content: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yields the place of every value, those within lists and mappings too."""
    if path:
        yield path
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield from places(content[key], *path, key)


def refused(read: Callable[[], Any]) -> tuple[str, Any]:
    """Returns the line in which reading ends, empty if it does not, and what is read."""
    try:
        return "", read()
    except UserError as error:
        return str(error), None


def left_out(folder: Path) -> list[str]:
    """Returns the report's sentences on what is left out of it."""
    study = read_study(folder)
    return [*study.notes, *curves(study)[1]]


def spoilt(content: Any, place: tuple[str | int, ...], value: str) -> str:
    """Returns a JSON file with a value, as JSON spells it, at one place."""
    changed = copy.deepcopy(content)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = "@here@"
    return json.dumps(changed).replace('"@here@"', value)


@pytest.mark.slow
def test_every_foreign_value_in_every_field_of_a_record_is_a_row(folder: Path) -> None:
    path = run_of(folder) / "results.json"
    record = json.loads(path.read_text())
    record["notes"] = ["a note"]
    read, unreadable = 0, 0
    for place in places(record):
        for value in FOREIGN:
            path.write_text(spoilt(record, place, value))
            if newest_record(folder / "runs/lora/seed_1") is not None:
                read += 1
                continue
            run = read_run(path.parent, "run", 1)
            assert run.state == "unreadable", (place, value)
            assert run.error is not None
            assert str(path) in run.error
            assert len(run.error) < 1000
            unreadable += 1
    assert unreadable > 800
    assert read > 100


# What a record may hold, and what its sections make pictures, sentences and cells of.
@pytest.mark.parametrize(
    "value",
    mostly_slow(
        ["-1", "1e308", "0.5", r'"a\u0000b\u001b[2J\nc"', '"$x$ | <b> {{ 7 }} %s"', '"=1+1"'],
        fast=['"$x$ | <b> {{ 7 }} %s"'],
    ),
)
def test_a_report_goes_on_with_a_strange_value_in_all_fields_that_take_it(
    value: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(folder) / "results.json"
    record = json.loads(path.read_text())
    for place in places(copy.deepcopy(record)):
        if place[-1] in ("schema", "problem_type", "status"):
            continue
        path.write_text(spoilt(record, place, value))
        if read_run(path.parent, "run", 1).record is not None:
            record = json.loads(path.read_text())
    path.write_text(json.dumps(record))
    write_report(folder)
    assert [row["recipe"] for row in table(folder)] == ["lora", "ia3"]
    for name in ("results.csv", "report.html"):
        assert (folder / name).stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "\x1b[2J" not in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("content", mostly_slow(NO_FILES, fast=NO_FILES[:4]))
def test_what_is_no_record_is_a_row_that_says_so(content: str | bytes, folder: Path) -> None:
    path = run_of(folder) / "results.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert finished_before(folder / "runs/lora/seed_1") is None
    study = read_study(folder)
    (run, _) = study.recipes[0].runs
    assert run.state == "unreadable"
    assert run.error is not None
    assert "results.json is" in run.error


def a_folder(path: Path) -> None:
    path.mkdir()


def a_huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)


def a_loop(path: Path) -> None:
    path.symlink_to(path)


IN_ITS_PLACE: tuple[Callable[[Path], None], ...] = (a_folder, os.mkfifo, a_huge_file, a_loop)


@pytest.mark.parametrize(
    "name", mostly_slow(["results.json", "history.csv", "predictions.parquet", "config.yaml"], fast=["results.json"])
)
@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_what_is_no_file_in_the_place_of_a_run_s_is_said(put: Callable[[Path], None], name: str, folder: Path) -> None:
    (run_of(folder) / name).unlink()
    if (put, name) == (a_huge_file, "config.yaml"):
        (run_of(folder) / name).write_text("a: " + "[" * 1000)
    else:
        put(run_of(folder) / name)
    study = read_study(folder)
    states = {recipe.label: [run.state for run in recipe.runs] for recipe in study.recipes}
    assert states["ia3"] == ["finished", "finished"]
    if name == "results.json":
        assert states["lora"] == ["not_started" if put is a_loop else "unreadable", "finished"]
    else:
        assert states["lora"] == ["finished", "finished"]
        # A link that leads nowhere is no history, which a run need not have.
        assert any("left out" in sentence for sentence in left_out(folder)) == ((put, name) != (a_loop, "history.csv"))


def test_every_foreign_value_in_a_plan_is_one_line_or_a_plan(folder: Path) -> None:
    path = folder / "plan.json"
    plan = json.loads(path.read_text())
    plan["directory"] = "/somewhere"
    for place in places(plan):
        for value in FOREIGN:
            path.write_text(spoilt(plan, place, value))
            line, found = refused(lambda: read_plan(folder))
            assert str(path) in line or found is not None, (place, value)
            if found is not None:
                found.runs(folder)


@pytest.mark.parametrize("content", mostly_slow(NO_FILES, fast=NO_FILES[:4]))
def test_what_is_no_plan_is_one_line(content: str | bytes, folder: Path) -> None:
    (folder / "plan.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"plan\.json is"):
        read_plan(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ('{"model": {"method": "LoRA"}, "trainer": "x"}', '{"model": 5}'),
        ('{"model": {"method": "LoRA", "x": 1e308}, "data": []}', '{"data": {"a+": 5}}'),
        ('{"model": {"method": {"class_path": 5}}}', '{"trainer+": ["x"]}'),
        ('{"model": {"method": [[[[]]]]}}', '{"": {"": 1}}'),
    ],
)
def test_settings_that_no_run_has_cost_no_table(settings: str, overrides: str, folder: Path) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    plan["recipes"][0]["settings"] = json.loads(settings)
    plan["overrides"] = json.loads(overrides)
    (folder / "plan.json").write_text(json.dumps(plan))
    line, _ = refused(lambda: write_report(folder))
    if not line:
        assert [row["recipe"] for row in table(folder)] == ["lora", "ia3"]
    else:
        assert "plan.json is damaged" in line


def test_every_foreign_value_in_tuned_rates_is_left_out_or_shown(folder: Path) -> None:
    path = folder / TUNING
    tuning = json.loads(path.read_text())
    for place in places(tuning):
        for value in FOREIGN:
            path.write_text(spoilt(tuning, place, value))
            line, found = refused(lambda: read_tuning(folder))
            assert "tuning.json" in line or "problem_type" in line or found is not None, (place, value)
    for content in NO_FILES:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=r"tuning\.json"):
            read_tuning(folder)
    study = read_study(folder)
    assert study.tuning is None
    assert any("learning rates tried are left out" in note for note in study.notes)


def test_every_foreign_value_in_a_forecast_or_progress_is_none(folder: Path) -> None:
    path = folder / FORECAST
    forecast = json.loads(path.read_text())
    progress = {"stage": "train", "step": 3, "steps": 9, "train_s": 1.5}
    for content, read in ((forecast, lambda: read_forecast(folder)), (progress, lambda: read_progress(path))):
        for place in places(content):
            for value in FOREIGN:
                path.write_text(spoilt(content, place, value))
                read()
        for raw in NO_FILES:
            path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
            assert read() is None
    path.write_text(json.dumps(progress))
    assert read_progress(path) == Progress("train", 3, 9, 1.5)


def test_every_foreign_failure_is_a_failure(folder: Path) -> None:
    seed = folder / "runs/lora/seed_1"
    shutil.rmtree(seed / "lightning_logs")
    for value in FOREIGN:
        for content in (value, f'{{"status": {value}, "error": "x"}}', f'{{"status": "failed", "error": {value}}}'):
            fail(seed, "failed", "")
            (seed / "failure.json").write_text(content)
            assert read_study(folder).recipes[0].runs[0].state in ("failed", "finished"), content


@pytest.mark.parametrize(
    "content",
    ["step,name,value\n1,train/loss,a lot\n", "1" + "0" * 399 + ",train/loss,0.5\n", "1e5,val/loss,1\n",
     "-1,train/loss,1\n2,train/loss,0.5\n3,val/acc,-3\n", '1,"train/loss,0.5\n' + "x" * 200_000 + "\n",
     b"\xff\xfe1\x00", b"\x00" * 100 + b"\n", "1,train/loss," + "9" * 5000 + "\n", "1,train/loss,nan\n2,val/acc,inf\n",
     "5,train/loss,1\n3,train/loss,2\n5,val/acc,0.5\n"],
)  # fmt: skip
def test_a_history_that_is_not_ours_costs_its_curve_at_most(content: str | bytes, folder: Path) -> None:
    path = run_of(folder) / "history.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    shown, damaged = curves(read_study(folder))
    assert [curve["label"] for curve in shown] == ["lora", "ia3"]
    assert [len(curve["rows"]) for curve in shown][1] == 2
    assert all("The curve of lora's seed 1 is left out" in sentence for sentence in damaged)


def parquets() -> Iterator[tuple[str, Any]]:
    """Yields tables that hold no answers, by what is wrong with them."""
    import pyarrow as pa

    good: dict[str, list[Any]] = {
        "index": [0, 1], "label": [0, 1], "prediction": [0, 1], "probability_0": [0.9, 0.1],
        "probability_1": [0.1, 0.9],
    }  # fmt: skip
    for name in good:
        for what, values in (
            ("text", ["a", "b"]), ("gaps", [1, None]), ("lists", [[1], [2]]), ("negative", [-1, -2]),
            ("nan", [float("nan")] * 2), ("infinite", [float("inf")] * 2), ("huge", [2**62, 2**63 - 1]),
            ("bytes", [b"a", b"b"]), ("structs", [{"a": 1}, {"a": 2}]),
        ):  # fmt: skip
            yield f"{name} {what}", pa.table(good | {name: values})
        yield f"no {name}", pa.table({other: values for other, values in good.items() if other != name})
    yield "empty", pa.table({name: values[:0] for name, values in good.items()})
    yield "repeated", pa.table(good | {"index": [1, 1]})
    for key, value in (
        ("class_names", "5"), ("class_names", '"ab"'), ("class_names", '["a"]'), ("class_names", "[[1], {}]"),
        ("class_names", "["), ("class_names", "[" * 100_000), ("problem_type", "unheard of"), ("problem_type", b"\xff"),
        (b"\xff", "1"), ("other", "null"),
    ):  # fmt: skip
        yield f"{key!r} {value[:9]!r}", pa.table(good).replace_schema_metadata({key: value})


@pytest.mark.slow
def test_answers_that_are_not_ours_are_left_out_and_named(folder: Path) -> None:
    import pyarrow.parquet as pq

    path = run_of(folder) / "predictions.parquet"
    said = 0
    for what, content in parquets():
        pq.write_table(content, path)
        study = read_study(folder)
        found = find(study)
        assert found.counted["lora"], what
        said += any("its answers are left out" in note for note in study.notes)
    assert said > 40


@pytest.mark.parametrize(
    "content",
    ["seed_everything: 2024-99-99\n", "a: " + "9" * 5000, "{" * 1000, "? [a]\n: 1\n", "!!python/object:os.system {}\n",
     "&a [*a]\n", "model: {method: {class_path: 5}}\n", "a: &a [1]\nb: !!binary 5\n", b"\xff\xfea\x00", "\x00",
     "model: {method: {class_path: x}}\ncheckpoint: {monitor: [a]}\ntrainer: text\ndata: [1]\n",
     "model: {method: {class_path: x}, learning_rate: fast}\n1: {2: 3}\n"],
)  # fmt: skip
def test_settings_that_are_not_ours_cost_themselves_at_most(content: str | bytes, folder: Path) -> None:
    for seed in (1, 2):
        path = folder / f"runs/lora/seed_{seed}/lightning_logs/lora/version_0/config.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    study = read_study(folder, [folder])
    rows = summarise(study, find(study))
    assert [row.finished for row in rows][:2] == [2, 2]
    described = Attempts().made("fairness", "It is", lambda: describe_fairness(study, (), NOTHING), {})
    assert described or "learning_rate: fast" in str(content)
