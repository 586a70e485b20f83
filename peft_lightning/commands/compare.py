"""compare: train every recipe with every seed, each run alone in its process, and report.

compare configs/lora.yaml configs/ia3.yaml [--config configs/offline.yaml] [--seeds 1 2 3]
compare --resume lightning_logs/compare/NAME       go on with one that was stopped
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peft_lightning.commands.checked_ahead import check_settings, refuse_settings
from peft_lightning.commands.compare_options import compare_parser, split_overrides
from peft_lightning.commands.launchers import refuse_several
from peft_lightning.commands.mends import COMPARISON, mending
from peft_lightning.commands.program import program
from peft_lightning.commands.setting_names import SECTIONS
from peft_lightning.commands.shorthands import RUN_SETTINGS, expand
from peft_lightning.compare.comparison import Options, begin, begin_sweep, go_on, pool_for
from peft_lightning.compare.execution.executor import ExecutorOptions, require_one
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.comparison_folder import check_is_comparison, folder_for, new_folder
from peft_lightning.compare.plan.plan import Plan
from peft_lightning.compare.plan.sweep import Part, Sweep, parts_of, plan_sweep, read_parts, read_words
from peft_lightning.compare.stages.tuning import Tuning, read_tuning
from peft_lightning.compare.stages.tuning_runs import plan_tuning
from peft_lightning.errors import UserError
from peft_lightning.gone_reader import READER_GONE, is_reader_gone, reader_may_be_gone
from peft_lightning.stop_signals import exit_code_after, listening


@mending(COMPARISON)
def run(words: Sequence[str]) -> None:
    """Runs the command, and exits with code 1 if a run did not finish, or the report is not whole.

    Args:
        words: The words after the command's name.

    Raises:
        UserError: If the user can put right what went wrong.
    """
    refuse_several(
        "compare", "starts its runs itself, from one process", ", with --devices_per_run for several devices"
    )
    own_words, overrides = split_overrides(expand(words, RUN_SETTINGS))
    arguments = compare_parser().parse_intermixed_args(own_words)
    starting = ExecutorOptions(
        arguments.cold_starts, arguments.share_gpu, arguments.executor_settings, arguments.ray_address
    )
    options = Options(arguments.jobs, not arguments.no_forecast, not arguments.no_texts, arguments.executor, starting)
    if arguments.resume is not None:
        if extra := _given_besides_resume(arguments, overrides):
            raise UserError(f"--resume goes on with a comparison as it was begun: leave {extra} out")
        folder = Path(arguments.resume)
        check_is_comparison(folder)
        if arguments.dry_run:
            parts = read_parts(folder)
            _dry_run(parts, [read_tuning(part.folder) for part in parts], folder, options)
            return
        with stopping_in_order(folder, options):
            finished = go_on(folder, options)
    else:
        sweep, plans, tunings = _planned(arguments, overrides)
        pool_for(plans, options)  # refused before a folder is made
        if arguments.dry_run:
            folder = folder_for(arguments.name)
            parts = parts_of(sweep, plans, folder) if sweep is not None else (Part(plans[0], folder),)
            _dry_run(parts, tunings, folder, options)
            return
        folder = new_folder(arguments.name)
        with stopping_in_order(folder, options):
            if sweep is not None:
                finished = begin_sweep(sweep, plans, folder, tunings, options, refuse_settings)
            else:
                finished = begin(plans[0], folder, tunings[0], options, refuse_settings)
    if not finished:
        sys.exit(1)


def _dry_run(parts: Sequence[Part], tunings: Sequence[Tuning | None], folder: Path, options: Options) -> None:
    """Says what would be done, after the settings were checked as ``fit`` reads them."""
    from peft_lightning.compare.dry_run import print_dry_run

    pool = pool_for([part.plan for part in parts], options)
    devices = check_settings(parts, here=not pool.executor.elsewhere)
    print_dry_run(parts, tunings, folder, pool, devices)


def _planned(
    arguments: argparse.Namespace, overrides: Sequence[str]
) -> tuple[Sweep | None, tuple[Plan, ...], list[Tuning | None]]:
    """Plans what a command line asks for: the sweep if there is one, and for each value the plan and the tuning."""
    if (devices := arguments.devices_per_run) is not None:
        require_one("--devices_per_run", devices)
        if any(word.partition("=")[0] == "--trainer.devices" for word in overrides):
            raise UserError("--devices_per_run sets trainer.devices of every recipe: leave --trainer.devices out")
        overrides = [*overrides, "--trainer.devices", str(devices)]
    words = (
        arguments.recipes,
        arguments.seeds or [1, 2, 3],
        arguments.config or [],
        overrides,
        arguments.baseline,
        arguments.metric,
    )
    sweep: Sweep | None = None
    plans: tuple[Plan, ...]
    if arguments.sweep is not None:
        if len(arguments.sweep) > 1:
            raise UserError(f"--sweep is there {len(arguments.sweep)} times: a comparison sweeps one setting")
        sweep = read_words(arguments.sweep[0], SECTIONS)
        plans = plan_sweep(sweep, *words)
    else:
        plans = (build_plan(*words),)
    tune: int | None = arguments.tune
    return sweep, plans, [plan_tuning(plan, tune) if tune is not None else None for plan in plans]


def _given_besides_resume(arguments: argparse.Namespace, overrides: Sequence[str]) -> str:
    names = ("config", "seeds", "name", "sweep", "tune", "baseline", "metric", "devices_per_run")
    flags = [f"--{name}" for name in names if getattr(arguments, name) is not None]
    return ", ".join([*arguments.recipes, *flags, *(word for word in overrides if word.startswith("--"))])


@contextmanager
def stopping_in_order(folder: Path, options: Options) -> Iterator[None]:
    """Prints the command that resumes the comparison on Ctrl-C, SIGTERM or SIGHUP, then exits.

    Args:
        folder: The comparison's folder.
        options: The comparison's options, which the command repeats.
    """
    with listening(owns_process=False) as signals:
        signals.may_raise()
        try:
            yield
        except KeyboardInterrupt as stop:
            with reader_may_be_gone():
                print(f"\ninterrupted: go on with {program()} compare {options.resume(folder)}", flush=True)
            sys.exit(exit_code_after(stop))
        except OSError as error:
            if not is_reader_gone(error):
                raise
            with reader_may_be_gone():
                sys.stdout.flush()
            sys.exit(READER_GONE)
