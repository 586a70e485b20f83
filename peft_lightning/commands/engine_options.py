"""Options for how training steps run, which belong neither to the model nor to the data nor to the Trainer."""

from jsonargparse.typing import PositiveFloat
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.engine.engine import EngineName


def add_engine_options(parser: LightningArgumentParser) -> None:
    """Adds ``--engine`` and ``--memory_limit_gib``, which are part of a run's configuration."""
    parser.add_argument(
        "--engine",
        type=EngineName,
        default="auto",
        help="How training steps run on a GPU: eager; graph, which captures them in CUDA graphs, so that the GPU"
        " does not wait for Python; compiled, which compiles the layers before; auto takes graph, or compiled where"
        " the job is long enough to earn back the compiling. On a CPU steps run eager.",
    )
    parser.add_argument(
        "--memory_limit_gib",
        type=PositiveFloat | None,
        default=None,
        help="GiB of GPU memory that fit may allocate (CUDA itself takes some 0.5 beside it); batches that do not"
        " fit go through in micro-batches, which changes no step.",
    )
