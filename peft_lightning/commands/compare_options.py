"""The options of ``compare``, and which of its words are settings for all runs instead."""

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path

from peft_lightning.commands.one_line_parser import OneLineParser
from peft_lightning.commands.program import program
from peft_lightning.commands.setting_names import SECTIONS, TOP_LEVEL
from peft_lightning.commands.shorthands import RUN_SETTINGS, add_to_help
from peft_lightning.compare.execution.registry import DEFAULT, executor_names
from peft_lightning.compare.plan.overrides import DECIDED
from peft_lightning.compare.plan.sweep import EXAMPLE
from peft_lightning.errors import UserError
from peft_lightning.recipes import read_flags

USAGE = """\
{start} RECIPE RECIPE ... [--config FILE] [--seeds 1 2 3] [--data.n_train 400 ...]
       {start} RECIPE RECIPE ... --sweep data.n_train 100 300 1000 [...]
       {start} --resume lightning_logs/compare/NAME"""
AFTERWARDS = """\
settings for all runs follow by their name, as in fit: --data.n_train 400 --trainer.max_epochs 1

Ctrl-C stops it so that --resume goes on; so does a kill, which costs the steps since the last checkpoint. A run that
fails, or runs out of memory, becomes a row that says so; --resume tries it again. Exit code: 0 if all runs finished,
1 if some did not or a part of the report could not be made, 2 for a mistake that can be put right, 130 after Ctrl-C,
143 after SIGTERM, 129 after SIGHUP, 141 where nobody reads its output any more."""


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates the command's own options from the settings for all runs.

    Args:
        words: The words after the command's name.

    Returns:
        The words of the recipes and the command's options, and the words of the settings.

    Raises:
        UserError: If a word is neither.
    """
    own = [name for action in compare_parser()._actions for name in action.option_strings]
    own_words: list[str] = []
    overrides: list[str] = []
    settings = {*TOP_LEVEL, *DECIDED}
    for name, value in read_flags(words):
        stays = name in own or not name.startswith("--")
        if name == "--method":
            raise UserError("compare takes several methods, each by its recipe: configs/lora.yaml configs/ia3.yaml")
        if not stays and "." not in name and name.removeprefix("--") not in settings:
            words_known = [option.removeprefix("--") for option in own if option.startswith("--")]
            near = difflib.get_close_matches(name.removeprefix("--"), words_known, 1)
            mend = (
                f"did you mean --{near[0]}?"
                if near
                else "--help lists the options; settings have a dot: --data.n_train"
            )
            raise UserError(f"{name} is no option of compare: {mend}")
        section = name.removeprefix("--").partition(".")[0]
        if not stays and "." in name and section not in SECTIONS:
            near = difflib.get_close_matches(section, SECTIONS, 1)
            mend = (
                f"did you mean --{near[0]}{name[len(section) + 2 :]}?" if near else f"there are {', '.join(SECTIONS)}"
            )
            raise UserError(f"{name} is no setting: {mend}")
        (own_words if stays else overrides).extend([name] if value is None else [name, value])
    return own_words, overrides


def compare_parser() -> OneLineParser:
    """Returns the parser of the command's own options."""
    parser = OneLineParser(
        "compare",
        explained_by="--help",
        usage=USAGE.format(start=f"{program()} compare"),
        description="Trains every recipe with every seed, each run alone in a fresh process, and writes a report:\n"
        "the table, intervals, tests and pictures, in lightning_logs/compare/NAME.",
        epilog=AFTERWARDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="the recipes to compare: configs/lora.yaml")
    parser.add_argument(
        "-c",
        "--config",
        "--overlay",
        action="append",
        metavar="FILE",
        help="differences for all recipes: configs/offline.yaml; repeatable, a later one wins",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="SEED",
        help="seeds of initialisation, order and dropout; the reviews stay the same (default: 1 2 3)",
    )
    parser.add_argument("--name", help="the comparison's folder in lightning_logs/compare (default: comparison_N)")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with a comparison that was stopped")
    parser.add_argument(
        "--sweep",
        nargs="+",
        action="append",
        metavar=("SETTING", "VALUE"),
        help="compare at several values of one setting, each a comparison with its own budgets, tuned rates and tests,"
        f" and report how the differences change: {EXAMPLE}",
    )
    parser.add_argument(
        "--tune",
        type=int,
        metavar="K",
        help="first try K learning rates for each recipe, a factor of 3.16 apart around its own, and train with the"
        " one that is best on validation; the test split is not touched",
    )
    parser.add_argument(
        "--baseline",
        metavar="RECIPE",
        help="the recipe that the report compares all others with, chosen before anything runs: which are really"
        " better, and what each costs; corrected for these comparisons only",
    )
    parser.add_argument(
        "--metric",
        metavar="KEY",
        help="the metric that the report compares the recipes by, on the test split: f1, mcc, pr_auc, f1.positive,"
        " rmse, pearson ... (docs/tasks.md has them all; default: accuracy, F1 by text or mean absolute error)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at the same time, each on a GPU of its own unless --share_gpu (default: 1, or all that may share)",
    )
    parser.add_argument(
        "--devices_per_run",
        type=int,
        metavar="N",
        help="train each run on N GPUs of its own, or in N processes on the CPU: trainer.devices of every recipe; with"
        " --jobs, as many runs at the same time as there are sets of N (docs/several_gpus.md)",
    )
    parser.add_argument(
        "--share_gpu",
        type=int,
        default=1,
        metavar="N",
        help="let N runs share each GPU, or the CPU where there is none: for accuracy only, since neither time nor"
        " memory is measured then (default: 1)",
    )
    parser.add_argument(
        "--cold_starts",
        action="store_true",
        help="let every run start Python and import everything itself, in some ten seconds; by default a server that"
        " has imported everything forks each run's process",
    )
    parser.add_argument(
        "--executor",
        default=DEFAULT,
        metavar="NAME",
        help=f"who starts the runs: {', '.join(executor_names())} (default: {DEFAULT}, processes of this machine)",
    )
    parser.add_argument(
        "--executor_settings",
        type=Path,
        metavar="FILE",
        help="a YAML file with what runs ask a cluster for: gpus, of SLURM also partition, time ... (docs/cluster.md)",
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="list the jobs, what differs between the recipes, and the hours, as far as earlier runs"
        " tell them; start nothing and write nothing (with --resume: what is left)",
    )
    parser.add_argument(
        "--ray_address",
        metavar="HOST:PORT",
        help="the head of the Ray cluster of --executor ray (default: RAY_ADDRESS, or the one of this machine)",
    )
    parser.add_argument("--no_forecast", action="store_true", help="do not try a few steps of each recipe first")
    parser.add_argument(
        "--no_texts", action="store_true", help="a report to share: reviews by their number only; --resume keeps to it"
    )
    add_to_help(parser, RUN_SETTINGS)
    return parser
