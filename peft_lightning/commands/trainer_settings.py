"""What Lightning does not check of a Trainer's settings, and the words of what it refuses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.strategies import StrategyRegistry

from peft_lightning.commands.named_devices import named_devices
from peft_lightning.engine.sharded_layers import FSDP2
from peft_lightning.errors import Setting, UserError
from peft_lightning.optim.steps import limited_batches

# What Lightning takes and then divides by, or takes for something else.
LEAST = {
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "num_nodes": 1,
}
# Settings of where and how a Trainer runs, which depend on the machine and on each other.
PLACING = ("accelerator", "devices", "num_nodes", "strategy", "precision")
# Lightning's names for strategies that keep weights elsewhere than a run's checkpoints look for them.
OTHER_STRATEGIES = ("fsdp", "deepspeed", "xla", "single_xla", "single_tpu")


def require_least(settings: Mapping[str, Any]) -> None:
    """Refuses numbers that are too small.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: If there is one.
    """
    for name, least in LEAST.items():
        if settings[name] is not None and settings[name] < least:
            raise UserError(f"trainer.{name} is {settings[name]}: it must be at least {least}")
    interval = settings["val_check_interval"]
    if isinstance(interval, int) and interval < 1:  # a fraction is a share of an epoch, and 0.0 each of its batches
        raise UserError(
            f"trainer.val_check_interval is {interval} batches: say at least 1, or ",
            Setting("trainer.val_check_interval", 1.0),
            " to validate after each epoch",
        )


def refuse_long_interval(trainer: Trainer, batches: int) -> None:
    """Refuses to validate less often than each epoch; Lightning does so only after the run's directory is made.

    Args:
        trainer: The Trainer.
        batches: The number of batches that the training loader yields in an epoch.

    Raises:
        UserError: If the interval is longer than what an epoch trains on.
    """
    interval, batches = trainer.val_check_interval, limited_batches(batches, trainer.limit_train_batches)
    is_for_an_epoch = trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches > 0
    if isinstance(interval, int) and is_for_an_epoch and 0 < batches < interval:
        raise UserError(
            f"trainer.val_check_interval is {interval} batches, and an epoch has {batches}: say at most that, or ",
            Setting("trainer.val_check_interval", 1.0),
            " to validate after each epoch, or ",
            Setting("trainer.check_val_every_n_epoch", None),
            " to count batches from epoch to epoch",
        )


def refuse_places(settings: Mapping[str, Any]) -> None:
    """Refuses devices that this machine lacks, strategies that no run has and a precision that a CPU does not compute.

    Lightning names no mend for the first two, and computes in another precision than the run's configuration says.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: If there is one.
    """
    accelerator, devices, strategy = (settings[name] for name in ("accelerator", "devices", "strategy"))
    if isinstance(strategy, str) and _is_foreign(strategy):
        raise UserError(
            f"trainer.strategy {strategy} is none that a run has: for several devices use ",
            Setting("trainer.strategy", "ddp"),
            ", a whole model on each, or ",
            Setting("trainer.strategy", FSDP2),
            ", which spreads it over them",
        )
    gpus = CUDAAccelerator.auto_device_count() if CUDAAccelerator.is_available() else 0
    if accelerator in ("gpu", "cuda") and not gpus and not (accelerator == "gpu" and MPSAccelerator.is_available()):
        raise UserError(
            f"trainer.accelerator {accelerator}: torch finds no GPU on this machine: use ",
            Setting("trainer.accelerator", "cpu"),
            ", or see that nvidia-smi shows one and that torch is built for CUDA",
        )
    if not _are_devices(devices):
        raise UserError(
            f"trainer.devices {devices or repr(devices)} is no number of devices: say how many, as in ",
            Setting("trainer.devices", 1),
            ", or which GPUs, as in ",
            Setting("trainer.devices", "0,1"),
        )
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not gpus and not MPSAccelerator.is_available())
    if on_cpu and devices != "auto" and not str(devices).isdigit():
        raise UserError(
            f"trainer.devices {devices} names GPUs, and this run is on the CPU: say how many processes, as in ",
            Setting("trainer.devices", 1),
        )
    if on_cpu and str(settings["precision"]) in ("16", "16-mixed"):
        raise UserError(
            f"trainer.precision {settings['precision']} is not computed on a CPU, where Lightning takes bf16 in its"
            " place: use ",
            Setting("trainer.precision", "bf16-mixed"),
        )
    if accelerator in ("auto", "gpu", "cuda") and gpus:
        _refuse_gpus(devices, gpus)


def _refuse_gpus(devices: object, gpus: int) -> None:
    """Refuses more GPUs than there are, and numbers of GPUs that there are not or that are there twice."""
    if str(devices).isdigit() and int(str(devices)) > gpus:
        raise UserError(
            f"trainer.devices {devices}: this machine has {gpus} GPU{'s' if gpus > 1 else ''}: say ",
            Setting("trainer.devices", gpus),
        )
    numbers = [int(number) for number in named_devices(devices) or ()]
    shown = ",".join(map(str, numbers))
    if any(number >= gpus for number in numbers):
        raise UserError(
            f"trainer.devices {shown}: torch sees {gpus} GPU{'s' if gpus > 1 else ''} here, numbered from 0: name"
            " those, or say how many, as in ",
            Setting("trainer.devices", min(len(numbers), gpus)),
        )
    if len(set(numbers)) < len(numbers):
        raise UserError(
            f"trainer.devices {shown} names a GPU twice: name each once, or say how many, as in ",
            Setting("trainer.devices", len(set(numbers))),
        )


def _is_foreign(strategy: str) -> bool:
    known = ("auto", FSDP2, *StrategyRegistry.available_strategies())
    return strategy not in known or (strategy != FSDP2 and strategy.startswith(OTHER_STRATEGIES))


def _are_devices(devices: object) -> bool:
    """Tells whether Lightning can read a number of devices, or their numbers; -1 is all."""
    if (named := named_devices(devices)) is not None:
        return bool(named) and all(str(number).strip().isdigit() for number in named)
    return str(devices) in ("auto", "-1") or (str(devices).isdigit() and int(str(devices)) > 0)


@contextmanager
def wording_misfits(settings: Mapping[str, Any]) -> Iterator[None]:
    """Words what Lightning raises where a Trainer is made of settings that do not go together.

    Args:
        settings: The ``trainer`` section of the configuration.

    Raises:
        UserError: If anything is raised inside, all of which is Lightning's.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        placing = {name: settings[name] for name in PLACING}
        stated = [f"--trainer.{name} {value}" for name, value in placing.items() if isinstance(value, str | int)]
        # Lightning's message mostly names its setting.
        which = "" if any(name in reason for name in dict(settings)) else f" ({', '.join(stated)})"
        raise UserError(
            f"these --trainer settings do not go together, or not on this machine{which}: {reason}"
        ) from error
