"""Options for how training steps run, which belong neither to the model nor to the data nor to the Trainer."""

from jsonargparse.typing import PositiveFloat
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.sharded_layers import FSDP2
from peft_lightning.engine.sharding import is_sharded
from peft_lightning.engine.strategies import EngineHost
from peft_lightning.errors import Setting, UserError


def add_engine_options(parser: LightningArgumentParser) -> None:
    """Adds ``--engine`` and ``--memory_limit_gib``, which are part of a run's configuration."""
    parser.add_argument(
        "--engine",
        type=EngineName,
        default="auto",
        help="How training steps run on a GPU: eager; graph, which captures them in CUDA graphs, so that the GPU"
        " does not wait for Python; compiled, which compiles the layers before; auto takes graph, or compiled where"
        " the job is long enough to earn back the compiling. On a CPU steps run eager; with sharded weights they are"
        " not captured, only compiled.",
    )
    parser.add_argument(
        "--memory_limit_gib",
        type=PositiveFloat | None,
        default=None,
        help="GiB of GPU memory that fit may allocate (CUDA itself takes some 0.5 beside it); batches that do not"
        " fit go through in micro-batches, which changes no step.",
    )


def refuse_engine(trainer: Trainer, engine: EngineName, memory_limit_gib: float | None) -> None:
    """Refuses an engine and a memory limit under strategies whose steps no engine of ours computes.

    Args:
        trainer: The Trainer.
        engine: The engine that the user asked for.
        memory_limit_gib: The limit in GiB, if there is one.

    Raises:
        UserError: If one of both is asked for, and cannot be had.
    """
    shards = is_sharded(trainer.strategy)
    captures = engine == "graph" or (engine == "compiled" and not shards)
    if isinstance(trainer.strategy, EngineHost) or not (captures or memory_limit_gib):
        return
    asked = Setting("engine", engine) if captures else Setting("memory_limit_gib", f"{memory_limit_gib:g}")
    if not shards:
        whole = Setting("trainer.strategy", "auto")
        raise UserError(asked, " is for ", whole, " or ddp: leave it out, or say one of these")
    sharded = Setting("trainer.strategy", FSDP2)
    if captures:
        raise UserError("with ", sharded, " steps with sharded weights are not captured: leave ", asked, " out")
    raise UserError(
        "with ",
        sharded,
        " a process that cut its batches would leave the others waiting: leave ",
        Setting("memory_limit_gib"),
        " out and lower ",
        Setting("data.batch_size"),
    )
