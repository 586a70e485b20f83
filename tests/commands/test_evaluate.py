import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.__main__ import main
from tests.commands.test_fit import digests, history
from tests.integration.offline_run import SOURCES, checkpoint, only_run, record

# At this rate no validation is better than the first: the best checkpoint and the last one are different ones.
LEARNING = ("--trainer.max_epochs", "3", "--model.learning_rate", "1e-6", "--data.n_val", "24")


def evaluation(folder: Path) -> dict[str, Any]:
    """What `test` or `validate` wrote."""
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


@pytest.fixture
def finished(tiny_fit: list[str], trained_once: Callable[..., None]) -> Path:
    """The directory of a finished run."""
    trained_once(*LEARNING)
    return only_run(Path())


@pytest.mark.slow
def test_best_and_last_and_a_file_are_measured_beside_an_untouched_record(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(finished)
    config = ["--config", str(finished / "config.yaml")]
    main(["test", *config, "--ckpt_path", "best"])
    shutil.copy(finished / "checkpoints/last.ckpt", "elsewhere.ckpt")
    main(["test", *config, "--ckpt_path", str(finished / "checkpoints/best.ckpt")])
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        main(["validate", *config, "--ckpt_path", "last"])
    # Nobody can add the callbacks that trained.
    assert not [one for one in caught if "callbacks" in str(one.message)]
    printed = capsys.readouterr().out
    main(["validate", *config, "--ckpt_path", "best"])

    after = digests(finished)
    assert before.items() <= after.items()
    new = {str(Path(path).relative_to(finished)) for path in after.keys() - before.keys()}
    assert new == {
        *(f"test_{n}/{name}" for n in (0, 1) for name in ("metrics.json", "predictions.parquet")),
        *(f"validate_{n}/metrics.json" for n in (0, 1)),
    }
    metrics = record(finished)["metrics"]
    tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
    assert evaluation(finished / "test_0")["metrics"] == tested
    assert evaluation(finished / "test_1")["metrics"] == tested
    assert evaluation(finished / "test_0")["dataset"] == record(finished)["dataset"]
    assert evaluation(finished / "test_0")["checkpoint"].endswith("checkpoints/best.ckpt")
    for name in ("test_0", "test_1"):
        theirs = (finished / name / "predictions.parquet").read_bytes()
        assert theirs == (finished / "predictions.parquet").read_bytes()
    validated = {name: value for name, value in metrics.items() if name.startswith("val/")}
    assert evaluation(finished / "validate_1")["metrics"] == validated
    last = evaluation(finished / "validate_0")["metrics"]
    steps = history(finished, "val/loss")
    assert last["val/loss"] == steps[max(steps)] != validated["val/loss"]
    assert f"val/acc {last['val/acc']:.4f}" in printed
    assert "validate_0" in printed

    # A checkpoint that lies in no run is measured into the folder of the method's runs.
    main(["test", *config, "--ckpt_path", "elsewhere.ckpt"])
    assert evaluation(Path("lightning_logs/lora/test_0"))["metrics"].keys() == tested.keys()
    assert before.items() <= digests(finished).items()


@pytest.mark.slow
def test_the_words_of_the_fit_find_their_newest_run(tiny_fit: list[str]) -> None:
    for _ in range(2):
        main(tiny_fit)
    main(["test", *tiny_fit[1:], "--ckpt_path", "best"])
    assert [str(path) for path in Path().glob("lightning_logs/lora/*/test_0")] == [
        "lightning_logs/lora/version_1/test_0"
    ]


@pytest.mark.slow
def test_best_of_a_run_without_one_is_refused(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (finished / "checkpoints/best.ckpt").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["test", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"])
    assert ended.value.code == 2
    assert str(finished) in capfd.readouterr().err.splitlines()[-1]
    assert not (finished / "test_0").exists()


@pytest.mark.slow
def test_precision_and_batch_size_of_an_evaluation_can_be_chosen(finished: Path) -> None:
    words = ["test", "--config", str(finished / "config.yaml"), "--ckpt_path", "best", "--data.eval_batch_size", "5"]
    main(words)
    ours, theirs = evaluation(finished / "test_0")["metrics"], record(finished)["metrics"]
    assert ours == pytest.approx({name: theirs[name] for name in ours}, abs=1e-5)


@pytest.mark.slow
def test_a_new_process_measures_the_same(finished: Path) -> None:
    before = digests(finished)
    program = [sys.executable, "-m", "peft_lightning"]
    words = ["test", "--config", str(finished / "config.yaml"), "--ckpt_path", "best"]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    subprocess.run([*program, *words], env=environment, check=True, capture_output=True)
    metrics = evaluation(finished / "test_0")["metrics"]
    assert metrics == {name: record(finished)["metrics"][name] for name in metrics}
    assert metrics.keys() == {name for name in record(finished)["metrics"] if name.startswith("test/")}
    assert before.items() <= digests(finished).items()
    assert checkpoint(finished / "checkpoints/best.ckpt")["global_step"] > 0


@pytest.mark.slow
def test_an_error_in_a_small_unit_is_no_zero(tiny_fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f'{{"text": "film {n}", "label": {n % 7 / 7e5 + 1e-7}}}\n' for n in range(64)]
    Path("rates.jsonl").write_text("".join(rows))
    words = list(tiny_fit)
    words[words.index("--data.source") + 1] = "rates.jsonl"
    main([*words, "--data.n_test", "null"])
    run = only_run(Path())
    capsys.readouterr()
    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "best"])
    error = record(run)["metrics"]["test/mae"]
    assert error < 5e-5
    assert f"test/mae {error:.4g}  " in capsys.readouterr().out
