"""The flags of ``fit`` itself, which are no part of a run's configuration."""

from jsonargparse.typing import PositiveFloat
from lightning.pytorch.cli import LightningArgumentParser


def add_fit_options(parser: LightningArgumentParser) -> None:
    """Adds options for the recipe's name, the test after training and the live dashboard."""
    parser.add_argument(
        "--recipe",
        # With `str | None` a recipe called null, or ~, would be none.
        type=str,
        default=None,
        help="What the record calls the recipe; the first file's name if not given.",
    )
    parser.add_argument(
        "--test_after_fit",
        type=bool,
        default=True,
        help="Test the best checkpoint when training ends.",
    )
    parser.add_argument(
        "--rehearsal",
        type=bool,
        default=False,
        help="Take the steps for the first ones of a longer run, as a comparison's forecast does: a method whose"
        " own schedule needs more steps is not refused.",
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
