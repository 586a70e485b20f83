import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from peft_lightning.compare.plan.plan import read_plan
from peft_lightning.compare.report import write_report
from peft_lightning.data.sampling import draw_test, draw_training_and_validation
from peft_lightning.data.sources import fingerprint, read_corpus
from peft_lightning.errors import UserError
from peft_lightning.runs.record import MemoryFigures, RunRecord, Status, TimeFigures
from tests.compare.report.records import FOUR, IA3, LORA, QLORA, comparison, fail, plan, write_run
from tests.samples import mostly_slow

FILES = ("table.md", "results.csv", "report.html")
# What a page must not take for a picture.
IMAGE = "<img src=x onerror=alert(1)>"


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of ``table.md``."""
    lines = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (folder / "table.md").read_text().splitlines()
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def runs(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    comparison(tmp_path, reviews=60)
    write_report(tmp_path)
    first = [(tmp_path / name).read_bytes() for name in FILES]
    write_report(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in FILES] == first


def test_the_table_holds_the_records_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison(tmp_path, reviews=200)
    write_report(tmp_path)
    rows = {row["recipe"]: row for row in table(tmp_path)}
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/lora/*/lightning_logs/*/*/results.json")]
    accuracy = sum(record["metrics"]["test/acc"] for record in records) / 3
    assert rows["lora"]["test accuracy"] == f"{100 * accuracy:.1f} %"
    assert rows["lora"]["trained parameters"] == "1,181,954 (0.95 %)"
    assert rows["lora"]["adapter + head"] == "589,824 + 592,130"
    assert rows["lora"]["GPU memory"] == "1.35 GiB"
    assert rows["lora"]["GPU memory, reserved"] == "1.62 GiB"
    assert rows["lora"]["checkpoint"] == "4.7 MB"
    assert rows["full"]["trained parameters"] == "124,647,170 (100 %)"
    assert rows["qlora"]["seeds done"] == "3 seeds"
    printed = " ".join(capsys.readouterr().out.split())
    assert rows["lora"]["test accuracy"] in printed
    assert "Smallest GPU: qlora, 1.09 GiB." in printed
    assert "Not only the method differs: model.optimizer touches memory, time and accuracy;" in printed


def test_the_csv_holds_every_run_s_plain_figures(tmp_path: Path) -> None:
    comparison(tmp_path, reviews=60)
    write_report(tmp_path)
    rows = runs(tmp_path)
    assert len(rows) == 12
    for row in rows:
        record = json.loads((tmp_path / row["run"] / "results.json").read_text())
        assert float(row["test/acc"]) == record["metrics"]["test/acc"]
        assert float(row["time/train_s"]) == record["time"]["train_s"]
        assert int(row["params/trainable"]) == record["params"]["trainable"]
        assert row["memory/train_peak_rss_gib"] == ""  # not measured on a GPU, and no 0


def share_gpu(folder: Path, seeds: tuple[int, ...], labels: tuple[str, ...]) -> None:
    """Makes the records of some runs those of runs that shared a GPU."""
    for run in read_plan(folder).runs(folder):
        if run.seed in seeds and run.label in labels:
            path = next(run.folder.rglob("results.json"))
            replace(
                RunRecord.read(path),
                not_measured="runs shared the GPU",
                memory=MemoryFigures(),
                time=TimeFigures(steps=1125),
            ).write(path)


@pytest.mark.slow
def test_times_and_memory_of_runs_that_shared_a_gpu_are_dashes_with_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    share_gpu(tmp_path, (1, 2), ("lora", "ia3"))
    write_report(tmp_path)
    for row in table(tmp_path):
        assert row["train time"] == row["GPU memory"] == row["samples/s"] == "–"
        assert row["test accuracy"].endswith("%")
    printed = " ".join(capsys.readouterr().out.split())
    assert "Times and memory were not measured: runs shared the GPU." in printed
    assert "Smallest GPU: Not measured: runs shared the GPU. Fastest: Not measured: runs shared the GPU." in printed
    assert "No run used a GPU" not in (tmp_path / "report.html").read_text()
    assert {row["time/train_s"] for row in runs(tmp_path)} == {""}


@pytest.mark.slow
def test_where_some_runs_shared_a_gpu_the_others_are_measured_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    share_gpu(tmp_path, (1,), ("lora",))
    write_report(tmp_path)
    assert {row["recipe"]: row["GPU memory"] for row in table(tmp_path)} == {"lora": "1.35 GiB", "ia3": "1.73 GiB"}
    printed = " ".join(capsys.readouterr().out.split())
    assert "Times and memory of lora were not measured: runs shared the GPU in 1 of 2 runs." in printed


@pytest.mark.slow
def test_cpu_memory_is_never_in_the_gpu_s_column(tmp_path: Path) -> None:
    on_cpu = {"lora": replace(LORA, gpu=None, cpu=1.75), "ia3": replace(IA3, gpu=None, cpu=1.5)}
    comparison(tmp_path / "mine", on_cpu, (1, 2), 60)
    on_gpu = write_run(tmp_path / "logs" / "version_0", QLORA, 1, "qlora", 60)
    write_report(tmp_path / "mine", [on_gpu])
    rows = {row["recipe"]: row for row in table(tmp_path / "mine")}
    assert [rows[label]["GPU memory"] for label in ("lora", "ia3", "qlora")] == ["–", "–", "1.09 GiB"]
    assert [rows[label]["CPU memory"] for label in ("lora", "ia3", "qlora")] == ["1.75 GiB", "1.50 GiB", "–"]


def test_on_a_cpu_no_gpu_is_recommended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison(tmp_path, {"lora": replace(LORA, gpu=None, cpu=1.75)}, (1,), 60)
    write_report(tmp_path)
    assert "No run used a GPU, so what a GPU would need was not measured." in " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "report.html").read_text()
    assert "no picture of accuracy against GPU memory" in page
    assert "Activations were not measured" in page


def test_what_was_not_measured_is_a_dash_and_never_0(tmp_path: Path) -> None:
    bare = replace(LORA, gpu=None, parts=(None,) * 4)
    comparison(tmp_path, {"lora": bare}, (1,), 60)
    path = next(tmp_path.glob("runs/lora/*/lightning_logs/*/*/results.json"))
    record = json.loads(path.read_text())
    record |= {"time": {}, "checkpoint_bytes": None, "params": None, "metrics": {}, "environment": None}
    path.write_text(json.dumps(record))
    write_report(tmp_path)
    (row,) = table(tmp_path)
    assert {name: cell for name, cell in row.items() if cell != "–"} == {
        "recipe": "lora",
        "seeds done": "1 seed",
        "test accuracy": row["test accuracy"],  # of the answers, like its interval
        "95 % interval": row["95 % interval"],
    }
    (run,) = runs(tmp_path)
    assert run["time/train_s"] == run["checkpoint_bytes"] == run["params/trainable"] == run["test/acc"] == ""
    assert "No run measured what its memory was filled with." in (tmp_path / "report.html").read_text()


def test_a_comparison_that_has_not_begun_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(FOUR, (1, 2), tmp_path)
    write_report(tmp_path)
    assert [row["test accuracy"] for row in table(tmp_path)] == ["not started"] * 4
    assert "0 of 8 runs have finished" in capsys.readouterr().out
    assert [run["status"] for run in runs(tmp_path)] == ["not_started"] * 8


def test_a_partial_comparison_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in plan(FOUR, (1, 2), tmp_path).runs(tmp_path):
        if run.label == "qlora":
            fail(run.folder, "out_of_memory", "tried to allocate 20 MiB")
        elif not (run.label == "ia3" and run.seed == 2):
            directory = run.folder / "lightning_logs" / run.label / "version_0"
            write_run(directory, FOUR[run.label], run.seed, run.label, 60)
    write_report(tmp_path)
    rows = {row["recipe"]: row for row in table(tmp_path)}
    assert rows["qlora"]["test accuracy"] == "out of memory"
    assert rows["qlora"]["seeds done"] == "0 of 2 seeds"
    assert rows["ia3"]["seeds done"] == "1 of 2 seeds"
    printed = " ".join(capsys.readouterr().out.split())
    assert "Partial: 5 of 8 runs have finished" in printed
    assert "Not finished: qlora: 2 out of memory; ia3: 1 not started." in printed
    page = (tmp_path / "report.html").read_text()
    assert "tried to allocate 20 MiB" in page
    assert "Partial: 5 of 8 runs" in page


@pytest.mark.slow
def test_a_partial_comparison_does_not_say_that_its_recipes_were_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = plan({"lora": LORA, "ia3": IA3}, (1, 2), tmp_path).runs(tmp_path)[0]
    write_run(run.folder / "lightning_logs" / "lora" / "version_0", LORA, 1, "lora", 60)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "lora and ia3, each to be trained with 2 seeds (1, 2)." in page
    assert "Partial: 1 of 4 runs has finished, and only it is counted." in page
    assert page.count("nothing to compare with") == 4
    assert "Fastest: Only lora was measured: 4.0 min." in " ".join(capsys.readouterr().out.split())
    comparison(tmp_path / "whole", {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    write_report(tmp_path / "whole")
    assert "lora and ia3, each trained with 2 seeds (1, 2)." in (tmp_path / "whole" / "report.html").read_text()


def test_one_recipe_alone_is_reported_without_tests(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA}, (1, 2, 3), 60)
    write_report(tmp_path)
    (row,) = table(tmp_path)
    assert " – " in row["95 % interval"]
    assert "There is nothing to test" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("label", mostly_slow((IMAGE, "a & b", "{{ 7 * 7 }}"), fast=[IMAGE]))
def test_a_label_is_text_and_no_markup(label: str, tmp_path: Path) -> None:
    comparison(tmp_path, {label: LORA, "ia3": IA3}, (1, 2), 60)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert "a & b" not in page
    assert "49" not in re.findall(r'<th scope="row">(.*?)</th>', page)
    assert "<img" not in (tmp_path / "table.md").read_text().replace("\\<img", "")


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA}, (1,), 60)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*report.html .*: make its folder writable"):
        write_report(tmp_path)


@pytest.mark.slow
def test_long_histories_do_not_make_a_heavy_page(tmp_path: Path) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    for history in tmp_path.rglob("history.csv"):
        lines = [f"{step},train/loss,{1 / (1 + step / 1000) + (step % 7) / 50}" for step in range(25, 100_000, 5)]
        history.write_text("\n".join(["step,name,value", *lines]) + "\n")
    write_report(tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 300_000


@pytest.fixture
def with_texts(reviews: Path, tmp_path: Path) -> Path:
    """A comparison on reviews that lie on disk, one of them hostile."""
    lines = (reviews / "test.jsonl").read_text().splitlines()
    hostile = {"text": "<script>alert('review')</script> & so on", "label": 1}
    rows = [json.loads(line) for line in lines]
    rows[1] = hostile
    (reviews / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = read_corpus(str(reviews), "text", "label", 42)
    train, val = draw_training_and_validation(corpus.train.labels, 16, 12, 42)
    test = corpus.test.take(draw_test(corpus.test.labels, 32, 42))
    known = fingerprint(corpus.task.label_names, (corpus.train.take(train), corpus.train.take(val), test))
    folder = tmp_path / "mine"
    # So different that they disagree on every review.
    made = {"good": replace(LORA, accuracy=1.0, spread=0), "bad": replace(IA3, accuracy=0.0, spread=0)}
    for run in plan(made, (1, 2), folder).runs(folder):
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        write_run(
            directory, made[run.label], run.seed, run.label, 32, step=1, source=str(reviews), n_train=16,
            fingerprint=known, n_val=12,
        )  # fmt: skip
    return folder


def test_texts_are_shown_escaped(with_texts: Path) -> None:
    write_report(with_texts)
    page = (with_texts / "report.html").read_text()
    assert "said viewer" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_a_changed_source_shows_no_texts_and_says_so(with_texts: Path, reviews: Path) -> None:
    file = reviews / "test.jsonl"
    file.write_text(file.read_text().replace("viewer 0", "viewer 99"))
    write_report(with_texts)
    page = (with_texts / "report.html").read_text()
    assert "has changed since the runs read it" in page
    assert "said viewer" not in page


def test_without_texts_the_source_is_not_opened_and_no_folder_named(
    with_texts: Path, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*words: object) -> None:
        raise AssertionError("the data source was opened")

    monkeypatch.setattr("peft_lightning.data.sources.read_corpus", opened)
    write_report(with_texts, texts=False)
    page = (with_texts / "report.html").read_text()
    assert "said viewer" not in page
    assert "alert" not in page
    assert "the texts are left out of this report" in page
    for name in FILES:
        assert str(reviews.parent) not in (with_texts / name).read_text()


@pytest.mark.slow
def test_without_texts_no_record_s_nor_setting_s_folder_is_named(tmp_path: Path) -> None:
    secret = "/home/anna/secret corp/roberta"
    settings = {"model_name_or_path": secret}
    for run in plan({"lora": LORA, "ia3": IA3}, (1, 2), tmp_path).runs(tmp_path):
        made = replace(LORA if run.label == "lora" else IA3, settings=settings if run.label == "lora" else {})
        directory = run.folder / "lightning_logs" / run.label / "version_0"
        status: Status = "failed" if (run.label, run.seed) == ("ia3", 2) else "finished"
        write_run(directory, made, run.seed, run.label, 60, status, source="../acme-patients/train")
        record = json.loads((directory / "results.json").read_text())
        record["backbone"]["name"] = secret
        record["error"] = "cannot read /home/anna/secret corp/acme-patients/x" if status == "failed" else None
        (directory / "results.json").write_text(json.dumps(record))
    content = json.loads((tmp_path / "plan.json").read_text())
    content["overlays"] = ["../acme-patients/overlay.yaml"]
    content["overrides"] = {"data": {"source": "../acme-patients/train", "cache_dir": "/home/anna/cache"}}
    content["recipes"][0]["path"] = "/home/anna/recipes/lora.yaml"
    content["recipes"][0]["settings"]["data"] = {"source": "../acme-patients/train"}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    (tmp_path / "runs/lora/seed_1/lightning_logs/lora/version_0/config.yaml").write_text("[")
    write_report(tmp_path, texts=False)
    written = "".join((tmp_path / name).read_text() for name in FILES)
    for word in ("anna", "secret", "corp", "acme-patients", str(tmp_path.parent)):
        assert word not in written
    for word in ("…/roberta", "…/train", "…/overlay.yaml", "…/lora.yaml"):
        assert word in written


@pytest.mark.slow
def test_a_source_that_is_gone_is_one_sentence(with_texts: Path, reviews: Path) -> None:
    for file in reviews.iterdir():
        file.unlink()
    write_report(with_texts)
    assert "cannot be read from here without a network" in (with_texts / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("history.csv", "step,name,value\n25,train/loss,0.5\n50,train/loss,a lot\n", "seed 1 is left out"),
        ("history.csv", "step,name,value\nsoon,train/loss,0.5\n", "its history.csv is damaged"),
        ("config.yaml", "seed_everything: 1\ndata: {source: films}\n", "its settings are left out"),
        ("config.yaml", "model: lora\n", "it holds settings, as in"),
        ("config.yaml", "model: {method: null}\n", "names no method"),
        ("config.yaml", "model: [", "is not a YAML file"),
        ("predictions.parquet", "no parquet", "its answers are left out"),
        ("tuning.json", "{", "The learning rates tried are left out"),
    ],
)
def test_a_damaged_file_beside_a_record_is_left_out_and_said(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    comparison(tmp_path, {"lora": LORA, "ia3": IA3}, (1, 2), 60)
    folder = tmp_path / "runs/lora/seed_1/lightning_logs/lora/version_0"
    ((tmp_path if name == "tuning.json" else folder) / name).write_text(content)
    write_report(tmp_path)
    assert said in (tmp_path / "report.html").read_text()
    rows = {row["recipe"]: row for row in table(tmp_path)}
    assert rows["lora"]["seeds done"] == rows["ia3"]["seeds done"] == "2 seeds"
    assert rows["lora"]["test accuracy"].endswith(" %")


@pytest.mark.slow
def test_pairs_none_of_which_is_told_apart_are_one_sentence_in_the_terminal_and_a_table_in_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison(tmp_path, {label: replace(made, accuracy=0.9) for label, made in FOUR.items()}, (1, 2), 100)
    write_report(tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("None of the 6 pairs is told apart by 100 reviews and 2 seeds;") == 1
    assert "are not told apart by" not in printed
    page = (tmp_path / "report.html").read_text()
    assert page.count("are not told apart by") == 6
    assert page.count('<td class="after">no</td>') == 6
