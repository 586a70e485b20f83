"""A process that waits for another of its run that is gone; tests/integration/test_several_processes.py kills some."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.integration.offline_run import SOURCES

# A process of a run that has two, and waits where no exception reaches it, as in a kernel of NCCL's.
WAITING = textwrap.dedent(
    """
    import os, subprocess, sys, threading, time
    from types import SimpleNamespace
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
    from peft_lightning.commands.watched_processes import watching_processes
    from peft_lightning.errors import Setting

    is_first = sys.argv[1] == "first"
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    if is_first:
        launcher.procs = [subprocess.Popen([sys.executable, "-c", sys.argv[2]])]
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(launcher=launcher if is_first else None),
        is_global_zero=is_first,
        interrupted=False,
        _accelerator_connector=SimpleNamespace(cluster_environment=LightningEnvironment()),
    )
    with watching_processes(trainer, ("go on with ", Setting("ckpt_path", "last"))):
        print("waits", flush=True)
        threading.Event().wait(60)
    """
)
# A process that starts the waiting one beside it, and is killed.
KILLED = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
OUT_OF_MEMORY = "most often because the machine's memory ran out: free some, then go on with --ckpt_path last"


def start(*words: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", 2, f"was killed by SIGKILL, {OUT_OF_MEMORY}"),
        # Ctrl-C, to which both are asked to listen, and the first is deaf.
        ("raise SystemExit(130)", 130, "was stopped by SIGINT: go on with --ckpt_path last"),
    ],
    ids=["SIGKILL", "Ctrl-C"],
)
def test_the_first_process_does_not_wait_for_one_that_is_gone(end: str, code: int, said: str) -> None:
    waiting = start(sys.executable, "-c", WAITING, "first", end)
    _, error = waiting.communicate(timeout=40)
    assert (waiting.returncode, error) == (code, f"peft_lightning: error: process 1 of the run {said}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="who has started a process is not told there")
def test_no_process_waits_for_a_first_one_that_was_killed() -> None:
    first = start(sys.executable, "-c", KILLED, sys.executable, "-c", WAITING, "other")
    assert first.stdout is not None
    assert first.stdout.readline() == "waits\n"
    first.send_signal(signal.SIGKILL)
    _, said = first.communicate(timeout=40)  # the other one has the same pipe, until it ends
    assert said == f"peft_lightning: error: the first process of the run was killed, {OUT_OF_MEMORY}\n"
