import json
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from peft_lightning.__main__ import main
from peft_lightning.commands.predict import Predict
from tests.integration.offline_run import PROGRAM, SOURCES, only_run

# An order that is neither sorted by length nor by alphabet.
TEXTS = ("a joy" + " indeed" * 9, "dull", "the cast is a bore, said viewer 3", "I would see it again – naïve, but fine")


def lines_of(text: str) -> list[dict[str, Any]]:
    """JSON lines, read."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def finished(tiny_fit: list[str], trained_once: Callable[..., None]) -> Path:
    """The directory of a finished run."""
    trained_once("--model.learning_rate", "1e-2")
    return only_run(Path())


def test_a_line_a_review_in_the_order_of_the_file(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("reviews.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    before = sorted(Path().rglob("*"))
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best", "--data.predict_file"]
    capsys.readouterr()
    main([*words, "reviews.txt"])
    predictions = lines_of(capsys.readouterr().out)
    assert sorted(Path().rglob("*")) == before
    assert len(predictions) == len(TEXTS)
    for prediction in predictions:
        assert prediction.keys() == {"label", "probabilities"}
        probabilities = prediction["probabilities"]
        assert list(probabilities) == ["0", "1"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction["label"] == max(probabilities, key=probabilities.__getitem__)
    assert len({prediction["probabilities"]["1"] for prediction in predictions}) == len(TEXTS)

    # Each review by itself gets what it got among the others, so none changed places.
    for text, prediction in zip(TEXTS, predictions, strict=True):
        Path("one.txt").write_text(text + "\n", encoding="utf-8")
        main([*words, "one.txt"])
        (alone,) = lines_of(capsys.readouterr().out)
        assert alone["probabilities"] == pytest.approx(prediction["probabilities"], abs=1e-4)

    main([*words, "reviews.txt", "--output", "out.jsonl"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "out.jsonl" in printed.err
    assert lines_of(Path("out.jsonl").read_text(encoding="utf-8")) == predictions


def test_equal_to_the_final_test_of_the_same_reviews(
    finished: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet as pq

    capsys.readouterr()
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    main([*words, "--data.predict_file", str(reviews / "test.jsonl")])
    predictions = lines_of(capsys.readouterr().out)
    assert len(predictions) == 32
    tested = pq.read_table(finished / "predictions.parquet").to_pylist()
    for row in tested:
        prediction = predictions[row["index"]]
        assert prediction["label"] == str(row["prediction"])
        assert prediction["probabilities"]["1"] == pytest.approx(row["probability_1"], abs=1e-4)


@pytest.mark.slow
def test_class_names_come_from_the_checkpoint(tiny_fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*tiny_fit, "--model.class_names", "[schlecht, großartig]"])
    run = only_run(Path())
    Path("reviews.txt").write_text("a joy\n")
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        main(["predict", "--config", f"{run}/config.yaml", "--ckpt_path", "last", "--data.predict_file", "reviews.txt"])
    # Nobody can add the callbacks that trained.
    assert not [one for one in caught if "callbacks" in str(one.message)]
    (prediction,) = lines_of(capsys.readouterr().out)
    assert list(prediction["probabilities"]) == ["schlecht", "großartig"]


def test_what_cannot_be_predicted_is_refused(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    Path("empty.txt").write_text("")
    for extra, hint in (
        ([], "--data.predict_file"),
        (["--data.predict_file", "nowhere.txt"], "nowhere.txt"),
        (["--data.predict_file", "~no-such-user/a.txt"], "predict_file ~no-such-user/a.txt does not exist"),
        (["--data.predict_file", "."], "predict_file . is no plain file: name a text file or a table"),
        (["--data.predict_file", "empty.txt"], "empty.txt"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*words, *extra])
        assert ended.value.code == 2
        error = capfd.readouterr().err
        assert hint in error.splitlines()[-1]
        assert "Traceback" not in error


def test_an_output_that_cannot_be_written_is_refused(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("reviews.txt").write_text("a joy\n")
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--data.predict_file", "reviews.txt", "--output", "no/such/folder.jsonl"])
    assert ended.value.code == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert "no/such/folder.jsonl" in line
    assert "--output" in line


@pytest.mark.parametrize(
    ("output", "word"),
    [
        ("reviews.txt", "an input of this command"),
        ("again.txt", "the same file as reviews.txt"),
        ("{run}/config.yaml", "a file of the run"),
        ("{run}/checkpoints/last.ckpt", "a file of the run"),
        ("{run}/predictions.parquet", "a file of the run"),
        (".", "is a folder"),
    ],
)
def test_an_output_is_refused_before_anything_is_computed(
    output: str, word: str, finished: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("reviews.txt").write_text("a joy\n")
    Path("again.txt").hardlink_to("reviews.txt")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    monkeypatch.setattr(Predict, "set_up_data", lambda *arguments: pytest.fail("data are read"))
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--data.predict_file", "reviews.txt", "--output", output.format(run=finished)])
    assert ended.value.code == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("peft_lightning: error: --output: ")
    assert word in line
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def predict_words(run: Path, output: str, *more: str) -> list[str]:
    words = ["predict", "--config", str(run / "config.yaml"), "--ckpt_path", "best", "--data.predict_file"]
    return [*words, "reviews.txt", "--output", output, *more]


@pytest.mark.slow
def test_tables_have_the_answers_of_the_lines(finished: Path) -> None:
    import csv

    import pyarrow.parquet as pq

    Path("reviews.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    for output in ("out.jsonl", "out.csv", "out.parquet"):
        main(predict_words(finished, output))
    lines = lines_of(Path("out.jsonl").read_text())
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table("out.parquet").to_pylist()
    for line, row, entry in zip(lines, rows, table, strict=True):
        assert line["label"] == row["label"] == entry["label"] == str(entry["prediction"])
        for value in (float(row["probability_1"]), entry["probability_1"]):
            assert value == pytest.approx(line["probabilities"]["1"], abs=1e-6)
    assert not list(Path().glob("*.unfinished"))


class Breaks(Callback):
    """Ends a prediction in the middle."""

    def on_predict_batch_start(self, trainer: Any, module: Any, batch: Any, number: int, *more: Any) -> None:
        if number == 2 and Path("break").exists():
            raise KeyboardInterrupt


@pytest.mark.slow
def test_what_was_predicted_is_kept_unless_the_settings_or_the_texts_change(
    finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    texts = [f"said viewer {number}" + " indeed" * (number % 5) for number in range(200)]
    Path("reviews.txt").write_text("\n".join(texts) + "\n")
    batches = ["--data.eval_batch_size", "1", "--trainer.callbacks+", "tests.commands.test_predict.Breaks"]

    def broken_off(output: str) -> None:
        Path("break").touch()
        with pytest.raises(SystemExit) as ended:
            main(predict_words(finished, output, *batches))
        assert ended.value.code == 130
        Path("break").unlink()

    main(predict_words(finished, "whole.csv", *batches))
    capfd.readouterr()
    broken_off("out.csv")
    assert "out.csv.unfinished: go on with the same command" in capfd.readouterr().err
    assert not Path("out.csv").exists()
    begun = Path("out.csv.unfinished").read_bytes()
    main(predict_words(finished, "out.csv", *batches))
    assert "going on: " in capfd.readouterr().err
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert not Path("out.csv.unfinished").exists()

    Path("out.csv.unfinished").write_bytes(begun)
    main(predict_words(finished, "out.csv", *batches, "--data.max_length", "16"))
    assert "starting anew: " in (line := capfd.readouterr().err)
    assert "differ in their data settings" in line

    Path("out.csv.unfinished").write_bytes(begun)
    Path("reviews.txt").write_text("\n".join(["another", *texts[1:]]) + "\n")
    main(predict_words(finished, "out.csv", *batches))
    assert "are to other texts" in capfd.readouterr().err
    assert Path("out.csv").read_bytes() != Path("whole.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_killed_again_and_again_it_ends_with_the_same_bytes(sent: signal.Signals, finished: Path) -> None:
    texts = [f"said viewer {number}" + " indeed" * (number * 7 % 23) for number in range(3000)]
    Path("reviews.txt").write_text("\n".join(texts) + "\n")
    words = [*PROGRAM, *predict_words(finished, "out.parquet", "--data.eval_batch_size", "4")]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    kept = Path("out.parquet.unfinished")
    for size in (10_000, 30_000):
        with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as child:
            while child.poll() is None and not (kept.exists() and kept.stat().st_size > size):
                time.sleep(0.01)
            asked = time.monotonic()
            child.send_signal(sent)
            _, err = child.communicate(timeout=100)
        assert child.returncode == (-sent if sent == signal.SIGKILL else 128 + sent), err
        assert time.monotonic() - asked < 20
        assert not Path("out.parquet").exists()
    subprocess.run(words, env=environment, check=True)
    main(predict_words(finished, "whole.parquet", "--data.eval_batch_size", "4"))
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
