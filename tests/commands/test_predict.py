import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.__main__ import main
from peft_lightning.commands.predict import Predict
from tests.integration.offline_run import only_run

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


def test_class_names_come_from_the_checkpoint(tiny_fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*tiny_fit, "--model.class_names", "[schlecht, großartig]"])
    run = only_run(Path())
    Path("reviews.txt").write_text("a joy\n")
    capsys.readouterr()
    main(["predict", "--config", f"{run}/config.yaml", "--ckpt_path", "last", "--data.predict_file", "reviews.txt"])
    (prediction,) = lines_of(capsys.readouterr().out)
    assert list(prediction["probabilities"]) == ["schlecht", "großartig"]


def test_what_cannot_be_predicted_is_refused(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["predict", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    Path("empty.txt").write_text("")
    for extra, hint in (
        ([], "--data.predict_file"),
        (["--data.predict_file", "nowhere.txt"], "nowhere.txt"),
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
