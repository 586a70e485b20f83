"""report: rebuild a comparison's table, tests and page from what its runs left on disk.

report lightning_logs/compare/NAME
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from peft_lightning.commands.launchers import refuse_several
from peft_lightning.commands.one_line_parser import OneLineParser
from peft_lightning.commands.program import program
from peft_lightning.errors import UserError
from peft_lightning.stop_signals import may_raise


def run(words: Sequence[str]) -> None:
    """Runs the command, and exits with code 1 if a part of the report could not be made.

    Args:
        words: The words after ``report``.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    parser = OneLineParser(
        "report",
        description="Rebuilds the report of a comparison from its records alone: prints the table and the verdict,"
        " and writes table.md, results.csv and report.html into its folder.",
        epilog=f"example: {program()} report lightning_logs/compare/mine --no_texts. Exit code: 0 if the report is"
        " whole, 1 if a part of it could not be made and is left out, 2 for a mistake that can be put right.",
    )
    parser.add_argument("folder", type=Path, help="folder of the comparison, such as lightning_logs/compare/mine")
    parser.add_argument(
        "others",
        type=Path,
        nargs="*",
        default=[],
        metavar="OTHER_RUN_DIR",
        help="directory of a further run, such as lightning_logs/lora/version_0, one that holds lightning_logs, for all"
        " runs below it, or another comparison's folder: a run with a recipe's very settings joins it as a further seed"
        " or in the place of one that did not finish, any other is a row of its own",
    )
    parser.add_argument(
        "--no_texts",
        action="store_true",
        help="for a report that is shared: show numbers of reviews instead of their texts, and name no folders; so it"
        " is from then on where the comparison was made with --no_texts",
    )
    parser.add_argument(
        "--baseline",
        metavar="RECIPE",
        help="the recipe that all others are compared with, by its name in the table: which are really better, and what"
        " each costs (default: the one that compare --baseline named)",
    )
    parser.add_argument(
        "--metric",
        metavar="KEY",
        help="the metric that recipes are compared by, such as f1, mcc, pr_auc, f1.positive, rmse or pearson"
        " (docs/tasks.md has them all; default: the one that compare --metric named, or the task's headline)",
    )
    parser.add_argument(
        "--method_comparison",
        type=Path,
        metavar="FOLDER",
        help="also write a file for each run into this folder, as PEFT's method_comparison has them: run_info,"
        " train_info, meta_info; what was not measured is null",
    )
    parser.add_argument(
        "--in_place_of_null",
        type=int,
        metavar="NUMBER",
        help="the number that those files have for what was not measured, such as -1: PEFT's application reads no null",
    )
    arguments = parser.parse_args(list(words))
    refuse_several("report", "writes its files from one process")
    if arguments.in_place_of_null is not None and arguments.method_comparison is None:
        raise UserError(
            "--in_place_of_null is for the files of --method_comparison: name their folder, or leave it out"
        )
    from peft_lightning.compare.plan.comparison_folder import texts_allowed
    from peft_lightning.compare.plan.sweep import read_sweep
    from peft_lightning.compare.report import write_report

    if arguments.method_comparison is not None and (sweep := read_sweep(arguments.folder)) is not None:
        raise UserError(
            f"--method_comparison is for one comparison, and {arguments.folder} compares at several values of"
            f" {sweep.setting}: name the folder of one, such as {arguments.folder / sweep.folders[0]}"
        )

    may_raise()
    texts = not arguments.no_texts and texts_allowed(arguments.folder)
    left_out = write_report(arguments.folder, arguments.others, texts, arguments.baseline, arguments.metric)
    if arguments.method_comparison is not None:
        from peft_lightning.compare.report.method_comparison import write_method_comparison

        write_method_comparison(
            arguments.folder, arguments.others, arguments.method_comparison, texts, arguments.in_place_of_null
        )
    if left_out:
        sys.exit(1)
