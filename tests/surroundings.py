"""What all tests of a process share: whoever changes it and leaves it so decides how a later test ends."""

from __future__ import annotations

import os
import random
import signal
import sys


def surroundings() -> dict[str, object]:
    """What a test must leave as it found it, by the name that a failure shows."""
    found: dict[str, object] = {"the working directory": os.getcwd()}
    for number in (signal.SIGINT, signal.SIGTERM):
        found[f"the handler of {number.name}"] = signal.getsignal(number)
    # Tests that never need torch are not to import it for this.
    if (torch := sys.modules.get("torch")) is not None:
        cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
        found |= {
            "torch's default dtype": torch.get_default_dtype(),
            "torch's default device": torch.get_default_device(),
            "torch's deterministic algorithms": torch.get_deterministic_debug_mode(),
            "torch's number of threads": torch.get_num_threads(),
            "torch's gradients": torch.is_grad_enabled(),
            "torch's float32 matmul precision": torch.get_float32_matmul_precision(),
            "cuDNN's switches": (cudnn.enabled, cudnn.deterministic, cudnn.benchmark),
            "attention's kernels": (
                *(cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled()),
                *(cuda.math_sdp_enabled(), cuda.cudnn_sdp_enabled()),
            ),
        }
    return found


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Name what differs; torch's switches are compared if torch was there before."""
    return [f"{name}: {was!r} became {after[name]!r}" for name, was in before.items() if after[name] != was]


def own_environment() -> dict[str, str]:
    """The environment without pytest's note of the test that runs."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def restore(environment: dict[str, str]) -> None:
    """Put the environment back: a run tells its children of its seed and its directory there, which is no mistake."""
    now = own_environment()
    for name in now.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if now.get(name) != value})


def seed() -> None:
    """Let every test draw the same numbers, those of libraries that are there."""
    random.seed(0)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        # Not torch.manual_seed: before CUDA is in use that keeps the stack of every call.
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)
