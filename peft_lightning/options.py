"""The options of the command line that LightningCLI cannot derive from the model, the data and the Trainer."""

from jsonargparse.typing import PositiveFloat
from lightning.pytorch.cli import LightningArgumentParser

from peft_lightning.engine.engine import EngineName

# The flags that some of the commands have of their own.
COMMAND_OPTIONS = ("recipe", "test_after_fit", "live", "live_interval_s", "output")
# What launches a command is no part of the run's configuration.
LAUNCHING = ("config", "ckpt_path", *COMMAND_OPTIONS)
# By whether it is `fit`.
CKPT_PATH_HELP = {
    True: "Go on training from a checkpoint: last, this configuration's unfinished run, in its own directory; or the"
    " last.ckpt of another run, in a new one.",
    False: "Which weights: best or last of the newest run of this configuration (of the run itself where --config is"
    " its config.yaml), or a checkpoint file.",
}


def add_engine_options(parser: LightningArgumentParser) -> None:
    """Adds the settings of how training steps run, which are part of a run's configuration.

    Args:
        parser: The parser of one command.
    """
    parser.add_argument(
        "--engine",
        type=EngineName,
        default="auto",
        help="How training steps run on one GPU: eager; graph, which captures them in CUDA graphs, so that the GPU"
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


def add_launching_options(parser: LightningArgumentParser, word: str) -> None:
    """Adds the command's own flags, and says of ``--ckpt_path`` what this program does with it.

    Args:
        parser: The parser of one command, with Lightning's options.
        word: The command's word.
    """
    (checkpoint,) = (action for action in parser._actions if action.dest == "ckpt_path")
    checkpoint.help = CKPT_PATH_HELP[word == "fit"]
    (group,) = (group for group in parser._action_groups if checkpoint in group._group_actions)
    group.title = "launching"
    if word == "fit":
        parser.add_argument(
            "--recipe",
            type=str | None,
            default=None,
            help="What the record calls the recipe; the first file's stem if not given.",
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=True,
            help="Test the best checkpoint when training ends.",
        )
        parser.add_argument(
            "--live",
            type=bool,
            nargs="?",
            const=True,
            default=False,
            help="Draw loss and metrics while training: dashboard.png in the run directory, a window where there is"
            " a display, inline in a notebook. Drawing counts as training time, a twentieth of it at most.",
        )
        parser.add_argument(
            "--live_interval_s",
            type=PositiveFloat,
            default=5.0,
            help="Seconds between two pictures of --live, at least.",
        )
    if word == "predict":
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="File for the predictions; the terminal if not given.",
        )
