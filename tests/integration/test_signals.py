"""One table of signals for all commands: real processes, each ended at another moment."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peft_lightning.stop_signals import SAME_REQUEST_S
from tests.integration.offline_run import SOURCES, only_run, record

STANDING = Path(__file__).with_name("standing_run.py")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PATIENCE_S = 150.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]


def hearing() -> None:
    """What a shell runs in the background is deaf to Ctrl-C, and under nohup to the terminal's end."""
    for number in CODES:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(
    words: list[str], at: str = "", program: tuple[str, ...] = (str(STANDING),)
) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "STAND_AT": at}
    command = [sys.executable, *program, *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hearing
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(child: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while child.poll() is None and not happened():
        assert time.monotonic() < until, "it never got there"
        time.sleep(0.02)


def handles_signals(process: int) -> bool:
    """Whether the program has begun: before that, the interpreter starts, and ends as the system has it."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return bool(int(fields["SigCgt"], 16) & 1 << (signal.SIGTERM - 1))


def ended_at(at: str, sent: signal.Signals, words: list[str]) -> tuple[str, str]:
    """Ends the program where it stands, and returns what it printed."""
    with started(words, at) as child:
        wait_for(child, Path(f"standing-{at}").exists)
        child.send_signal(sent)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == CODES[sent], err
    assert "Traceback" not in err
    return out, err


@pytest.mark.parametrize("sent", CODES)
@pytest.mark.parametrize("after_s", [0, 0.3, 1])
def test_while_modules_are_imported_a_signal_ends_the_process_in_a_line(
    sent: signal.Signals, after_s: float, tiny_fit: list[str]
) -> None:
    with started(tiny_fit, program=("-m", "peft_lightning")) as child:
        wait_for(child, lambda: handles_signals(child.pid))
        time.sleep(after_s)
        child.send_signal(sent)
        out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == CODES[sent], err
    assert err.strip() == f"peft_lightning: stopped by {sent.name} before anything was begun"
    assert out == ""
    assert not Path("lightning_logs").exists()


def test_while_data_are_read_nothing_has_begun(tiny_fit: list[str]) -> None:
    _, err = ended_at("data", signal.SIGTERM, tiny_fit)
    assert err.splitlines()[-1] == "peft_lightning: stopped by SIGTERM"
    assert not Path("lightning_logs").exists()


@pytest.mark.parametrize(
    ("at", "sent"),
    [
        ("training", signal.SIGHUP),
        ("evaluation", signal.SIGINT),
        ("writing", signal.SIGTERM),
        ("between", signal.SIGHUP),
    ],
)
def test_a_run_that_has_begun_says_in_its_record_what_ended_it_and_can_go_on(
    at: str, sent: signal.Signals, tiny_fit: list[str]
) -> None:
    words = [*tiny_fit, "--trainer.logger+=CSVLogger"]
    out, _ = ended_at(at, sent, words)
    run = only_run(Path())
    assert f"interrupted: go on in {run} with the same command and --ckpt_path last" in out
    assert (record(run)["status"], record(run)["error"]) == ("interrupted", f"stopped by {sent.name}")
    assert not list(run.rglob("*.partial"))
    # What a tracker was given before the signal is on disk.
    with (run / "csv/metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == ([1, 2] if at == "training" else [1, 2, 3, 4])


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_run_at_once(sent: signal.Signals, tiny_fit: list[str]) -> None:
    with started(tiny_fit, "training,end") as child:
        wait_for(child, Path("standing-training").exists)
        child.send_signal(sent)
        # `timeout` and a closing terminal send theirs twice.
        child.send_signal(sent)
        wait_for(child, Path("standing-end").exists)
        assert child.poll() is None
        time.sleep(SAME_REQUEST_S)
        child.send_signal(sent)
        _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == CODES[sent]
    assert err.splitlines()[-1] == f"peft_lightning: stopped by {sent.name} again: ended at once"


def test_predict_ends_and_leaves_an_output_as_it_was(tiny_fit: list[str], trained_once: Callable[..., None]) -> None:
    trained_once()
    Path("texts.txt").write_text("a joy\n")
    Path("out.jsonl").write_text("earlier\n")
    words = ["predict", "--config", f"{only_run(Path())}/config.yaml", "--ckpt_path", "best"]
    _, err = ended_at(
        "prediction", signal.SIGTERM, [*words, "--data.predict_file", "texts.txt", "--output", "out.jsonl"]
    )
    assert err.splitlines()[-1] == "peft_lightning: stopped by SIGTERM"
    assert Path("out.jsonl").read_text() == "earlier\n"
