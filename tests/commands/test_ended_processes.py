"""What a run says of its other processes; tests/integration/test_several_processes.py has real runs of several."""

import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from peft_lightning.commands.ended_processes import ending_its_processes, only_forward_sigterm
from peft_lightning.commands.mends import going_on
from peft_lightning.errors import Setting, UserError
from peft_lightning.runs.progress import VARIABLE


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("sys.exit(2)", "ended with exit code 2, and said why: mend that and go on with --ckpt_path last"),
        ("sys.exit(143)", "was stopped by SIGTERM: go on with --ckpt_path last"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was killed by SIGKILL, most often because the machine's memory ran out: free some, then go on with"
            " --ckpt_path last",
        ),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "was killed by SIGSEGV, without a word of this program: go on with --ckpt_path last",
        ),
    ],
    ids=["exit code", "SIGTERM", "SIGKILL", "another signal"],
)
@pytest.mark.parametrize("compared", [False, True], ids=["alone", "compared"])
def test_a_run_says_how_another_of_its_processes_ended(
    end: str, said: str, compared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if compared:
        monkeypatch.setenv(VARIABLE, "progress.json")
        said = said.replace("--ckpt_path last", "--resume")
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    launcher.procs = [subprocess.Popen([sys.executable, "-c", f"import os, signal, sys; {end}"])]
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(launcher=launcher),
        is_global_zero=True,
        interrupted=True,
        _accelerator_connector=SimpleNamespace(cluster_environment=LightningEnvironment()),
    )
    then = ("go on with ", going_on())
    with pytest.raises(UserError) as raised, ending_its_processes(cast(Trainer, trainer), then):
        raise RuntimeError("Connection closed by peer")
    assert raised.value.worded(Setting.as_flag) == f"process 1 of the run {said}"
    # A test has nothing to go on with.
    with pytest.raises(UserError, match=r"run it again$"), ending_its_processes(cast(Trainer, trainer)):
        raise RuntimeError("Connection closed by peer")


def test_a_lost_process_of_torchrun_s_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    environment = SimpleNamespace(world_size=lambda: 2)
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(launcher=None),
        is_global_zero=True,
        _accelerator_connector=SimpleNamespace(cluster_environment=environment),
    )
    ending = ending_its_processes(cast(Trainer, trainer))
    with pytest.raises(UserError, match="torchrun says how: mend that and run it again"), ending:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    ending = ending_its_processes(cast(Trainer, trainer))
    with pytest.raises(RuntimeError, match="a bug of our own"), ending:
        raise RuntimeError("a bug of our own")


def test_no_batch_waits_for_the_gpu_to_hear_of_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    asked = trainer.fit_loop.epoch_loop
    # Lightning's own: without it, or by another name, there is nothing to replace, and the mend may go.
    assert "_broadcast_sigterm_tensor" in vars(type(asked))
    monkeypatch.setattr(torch, "tensor", None)
    only_forward_sigterm(trainer)
    asked._broadcast_sigterm_tensor()
