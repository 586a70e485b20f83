import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from peft_lightning.runs import directory
from tests.commands.holding import held_elsewhere
from tests.commands.stopping import AT, WITH
from tests.integration.breaking import HELD_IN
from tests.integration.offline_run import SOURCES, checkpoint, curves, history, only_run, record, same

STOPPABLE = (
    "--trainer.callbacks+=tests.commands.stopping.StopAt",
    *("--checkpoint.every_n_steps", "1", "--checkpoint.max_time_share", "1"),
    *("--trainer.max_epochs", "2", "--model.learning_rate", "1e-3"),
)
LAST = ("--ckpt_path", "last")


@contextmanager
def stopping(at: str, how: str = "Ctrl-C") -> Iterator[None]:
    """Breaks the runs inside off at an optimiser step, or in the final `test`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(AT, at)
        patch.setenv(WITH, how)
        yield


def interrupt(words: list[str], at: str = "6") -> Path:
    """Runs a `fit` that Ctrl-C ends, and returns its directory."""
    before = set(Path("lightning_logs/lora").glob("version_*"))
    with stopping(at), pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 130
    (run,) = set(Path("lightning_logs/lora").glob("version_*")) - before
    return run


def refusal(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that a `fit` is refused with; no run is made or changed by it."""
    capfd.readouterr()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("peft_lightning: error: ")]
    assert len(lines) == 1
    assert before == {path: path.read_bytes() for path in before}
    assert len(list(Path().glob("lightning_logs/*/*"))) == len(
        {path.parts[2] for path in before if len(path.parts) > 3}
    )
    return lines[0]


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_going_on_ends_as_if_nothing_had_happened(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    printed = capfd.readouterr()
    assert "Traceback" not in printed.err
    (line,) = [line for line in printed.out.splitlines() if line.startswith("interrupted")]
    assert str(run) in line
    assert "--ckpt_path last" in line
    interrupted = record(run)
    assert (interrupted["status"], interrupted["error"]) == ("interrupted", "KeyboardInterrupt")
    assert interrupted["time"]["steps"] == 6
    assert interrupted["params"]["trainable"] > 0
    assert "test/acc" not in interrupted["metrics"]

    main([*words, *LAST])
    assert f"resuming {run} at step 6" in capfd.readouterr().out
    assert only_run(Path()) == run
    main(words)
    alone = run.with_name("version_1")
    resumed = record(run)
    assert (resumed["status"], resumed["error"], resumed["run_id"]) == ("finished", None, interrupted["run_id"])
    for part in ("metrics", "params", "dataset", "config_sha256", "recipe"):
        assert resumed[part] == record(alone)[part], part
    assert history(run) == history(alone)
    assert curves(run) == curves(alone)
    assert same(
        checkpoint(run / "checkpoints/last.ckpt")["state_dict"],
        checkpoint(alone / "checkpoints/last.ckpt")["state_dict"],
    )


@pytest.mark.slow
def test_time_goes_on_counting_over_a_resume(tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    first = record(run)["time"]
    main([*words, *LAST])
    time = record(run)["time"]
    assert time["startup_s"] == first["startup_s"]
    assert time["epoch_s"][0] == first["epoch_s"][0]
    assert len(time["epoch_s"]) == 2
    assert time["steps"] == 8
    assert time["train_s"] >= sum(time["epoch_s"])
    assert time["samples_per_s"] == pytest.approx(64 / time["train_s"])


def test_an_error_is_recorded_in_one_line_and_the_run_goes_on(tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    with stopping("3", "an error"), pytest.raises(RuntimeError, match="something"):
        main(words)
    run = only_run(Path())
    assert (record(run)["status"], record(run)["error"]) == ("failed", "something broke")
    main([*words, *LAST])
    assert (record(run)["status"], record(run)["error"]) == ("finished", None)


@pytest.mark.slow
def test_a_run_stopped_before_its_first_checkpoint_starts_again(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny_fit, *STOPPABLE, "--checkpoint.every_n_steps", "100"]
    run = interrupt(words, at="2")
    assert not (run / "checkpoints/last.ckpt").exists()
    main([*words, *LAST])
    assert "from the start" in capfd.readouterr().out
    assert only_run(Path()) == run
    assert record(run)["status"] == "finished"
    steps = [step for step, name, _ in history(run) if name == "train/loss"]
    assert steps == ["1", "2", "3", "4", "5", "6", "7", "8"]


@pytest.mark.slow
def test_a_run_stopped_in_its_final_test_only_tests(tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words, at="test")
    assert record(run)["status"] == "interrupted"
    assert "val/acc" in record(run)["metrics"]
    trained = (run / "checkpoints/last.ckpt").read_bytes()
    best = (run / "checkpoints/best.ckpt").read_bytes()
    main([*words, *LAST])
    assert only_run(Path()) == run
    assert record(run)["status"] == "finished"
    assert {"test/acc", "val/acc"} <= record(run)["metrics"].keys()
    assert record(run)["time"]["steps"] == 8
    assert (run / "checkpoints/last.ckpt").read_bytes() == trained
    assert (run / "checkpoints/best.ckpt").read_bytes() == best
    steps = [(step, name) for step, name, _ in history(run)]
    assert len(steps) == len(set(steps))


@pytest.mark.slow
def test_the_newest_unfinished_run_goes_on(tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    oldest, older = interrupt(words), interrupt(words)
    main(words)
    main([*words, *LAST])
    assert (record(oldest)["status"], record(older)["status"]) == ("interrupted", "finished")
    main([*words, *LAST])
    assert record(oldest)["status"] == "finished"


@pytest.mark.slow
def test_a_run_goes_on_from_its_own_configuration_and_elsewhere_watched(tiny_fit: list[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    main(["fit", "--config", str(run / "config.yaml"), *LAST, "--trainer.enable_progress_bar", "true"])
    assert only_run(Path()) == run
    assert (record(run)["status"], record(run)["recipe"]) == ("finished", "lora")


@pytest.mark.slow
def test_nothing_to_go_on_with_is_refused(tiny_fit: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    line = refusal([*words, "--model.learning_rate", "2e-3", *LAST], capfd)
    assert "no unfinished run of this very configuration" in line
    main([*words, *LAST])
    line = refusal([*words, *LAST], capfd)
    assert str(run) in line
    assert "has finished" in line


@pytest.mark.slow
def test_changed_data_is_refused(tiny_fit: list[str], reviews: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    train = reviews / "train.jsonl"
    original = train.read_text()
    train.write_text(original.replace("said viewer", "wrote viewer"))
    line = refusal([*words, *LAST], capfd)
    assert str(run) in line
    assert "data" in line
    assert record(run)["status"] == "interrupted"
    train.write_text(original)
    main([*words, *LAST])
    assert record(run)["status"] == "finished"


@pytest.mark.slow
def test_a_run_that_is_still_running_is_refused(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny_fit, *STOPPABLE]
    run = interrupt(words)
    monkeypatch.setattr(directory, "LOCK_PATIENCE_S", 0.2)
    with held_elsewhere(run / ".lock"):
        line = refusal([*words, *LAST], capfd)
    assert str(run) in line
    assert "still running" in line
    # A killed process holds nothing.
    main([*words, *LAST])
    assert record(run)["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_that_can_go_on(sent: signal.Signals, tiny_fit: list[str]) -> None:
    words = [*tiny_fit, "--trainer.callbacks+=tests.integration.breaking.Held", "--checkpoint.every_n_steps", "1"]
    environment = os.environ | {"PYTHONPATH": str(SOURCES), HELD_IN: "/place"}
    program = [sys.executable, "-m", "peft_lightning", *words]
    with subprocess.Popen(
        program,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background are deaf to Ctrl-C, and what they start is too.
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as child:
        try:
            while child.poll() is None and not list(Path().glob("lightning_logs/lora/*/checkpoints/last.ckpt")):
                time.sleep(0.05)
            child.send_signal(sent)
            out, err = child.communicate(timeout=200)
        finally:
            child.kill()
    assert child.returncode == 128 + sent, err
    assert "Traceback" not in err
    assert "--ckpt_path last" in out
    assert record(only_run(Path()))["status"] == "interrupted"
