"""A run's further processes, started before it has read its settings, so that they import what it imports meanwhile.

Lightning starts them once the first one is done with that. On an H200's host, where importing takes 13 s, a run on two
GPUs took 33 s to its first step and one on one GPU 16.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import yaml

from peft_lightning.commands.launchers import OF_A_RUN, launch
from peft_lightning.commands.named_devices import named_devices
from peft_lightning.commands.shorthands import expand
from peft_lightning.errors import UserError
from peft_lightning.recipes import find_config, read_flags, read_merged, split_arguments
from peft_lightning.stop_signals import delaying_signals, end_quietly, stop_delaying

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# The number of the pipe at which a process that was started ahead hears the environment that it is to run in.
_PIPE = "PEFT_LIGHTNING_STARTED_AHEAD"
_TRAINING = ("fit", "validate", "test", "predict")
_NOT_A_RUN = ("-h", "--help", "--print_config")
_waiting: list[tuple[subprocess.Popen[bytes], int]] = []


def start_ahead(words: Sequence[str]) -> None:
    """Starts as many processes as the words and their files ask for beside this one; they wait for ``hand_over``.

    Whatever the words leave open, such as ``--trainer.devices auto``, Lightning starts as ever.

    Args:
        words: The words after the program's name.
    """
    if _PIPE in os.environ:  # this is one of them
        end_quietly(True)
        stop_delaying()
        return
    program = _program()
    if program is None:
        return
    for _ in range(_wanted(words)):
        heard, told = os.pipe()
        environment = os.environ | {_PIPE: str(heard)}
        # Until it handles them: Ctrl-C reaches it too, and would end its interpreter's start in a traceback.
        with delaying_signals():
            process = subprocess.Popen([*program, *sys.argv[1:]], env=environment, pass_fds=(heard,))
        os.close(heard)
        _waiting.append((process, told))
    if _waiting:
        atexit.register(_dismiss)


def wait_if_ahead() -> None:
    """Waits, in a process that was started ahead, until the first one needs it; ends this one if that never comes."""
    number = os.environ.get(_PIPE)
    if number is None:
        return
    with open(int(number), "rb") as pipe:
        heard = pipe.read()
    if not heard:
        os._exit(0)
    end_quietly(False)
    os.environ.clear()
    os.environ.update(json.loads(heard))


def hand_over(trainer: Trainer) -> None:
    """Has a run take the processes that were started ahead where Lightning would start some, and ends the others.

    Args:
        trainer: The Trainer, which has not started yet.
    """
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher, subprocess_script

    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        os.environ[OF_A_RUN] = "1"
    if not _waiting or not isinstance(launcher, _SubprocessScriptLauncher):
        _dismiss()
        return
    own = launcher._call_children_scripts

    def take() -> None:
        namespace: Any = subprocess_script
        namespace.subprocess = SimpleNamespace(Popen=_taken)
        try:
            own()
        finally:
            namespace.subprocess = subprocess
            _dismiss()

    launcher._call_children_scripts = take  # type: ignore[method-assign]


def _taken(command: Sequence[str], env: Mapping[str, str], cwd: str | None) -> subprocess.Popen[bytes]:
    """Stands in for ``Popen``: a process that waits runs in the given environment."""
    while _waiting and cwd is None:
        process, told = _waiting.pop(0)
        try:
            with open(told, "wb") as pipe:
                pipe.write(json.dumps(dict(env)).encode())
        except BrokenPipeError:  # it has ended, and has said why
            continue
        return process
    return subprocess.Popen(command, env=env, cwd=cwd)


def _dismiss() -> None:
    """Ends the processes that wait; they have begun nothing."""
    while _waiting:
        process, told = _waiting.pop()
        process.kill()
        process.wait()
        os.close(told)


def _program() -> list[str] | None:
    """Returns how this program was started; None if another one, such as a notebook, has imported it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        return [sys.executable, "-m", "peft_lightning"] if spec.name == "peft_lightning.__main__" else None
    path = os.path.abspath(sys.argv[0])
    return [sys.executable, path] if os.path.basename(path) == "peft-lightning" else None


def _wanted(words: Sequence[str]) -> int:
    """Returns how many processes a run will start on this machine; 0 where that is not plain to see."""
    launched = launch() is not None or "LOCAL_RANK" in os.environ or "SLURM_JOB_ID" in os.environ
    if launched or words[0] not in _TRAINING or any(word in words for word in _NOT_A_RUN):
        return 0
    try:
        named, rest = split_arguments(expand(list(words[1:])))
        config = read_merged(map(find_config, named))
    except (UserError, OSError):  # the run will say it
        return 0
    trainer = config.get("trainer")
    settings = dict(trainer) if isinstance(trainer, Mapping) else {}
    settings |= {name.removeprefix("--trainer."): value for name, value in read_flags(rest)}
    if str(settings.get("num_nodes", 1)) != "1":
        return 0
    return max(_devices(settings.get("devices")) - 1, 0)


def _devices(asked: object) -> int:
    """Returns how many devices a setting of the Trainer's names; 0 for those that depend on the machine."""
    if isinstance(asked, str):
        try:
            asked = yaml.safe_load(asked)
        except yaml.YAMLError:
            return 0
    if (named := named_devices(asked)) is not None:
        return len(named)
    # More than a host has GPUs is a slip, which the run will name.
    return asked if isinstance(asked, int) and 1 < asked <= 16 else 0
