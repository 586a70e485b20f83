"""The command line of a measurement: reading it, and how it is recorded."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

from side_by_side.peer_job import METHODS_OF
from side_by_side.shapes import SHAPES
from side_by_side.wanted import PEERS

_PLACES = ("--reviews", "--shape", "--backbone", "--out", "--adapters_site", "--scratch")
# These take a word as well, such as `embedded`, and that says what was measured.
_OR_WORDS = ("--reviews", "--shape", "--backbone")


def parsed(words: Sequence[str], description: str | None) -> argparse.Namespace:
    """Reads the command line, and ends the process with one line where it is wrong.

    Args:
        words: the words of the command line, the script's name left out.
        description: what `--help` says first.
    """
    parser = _parser(description)
    arguments = parser.parse_args(words)
    if arguments.join:
        given = [name for name, value in vars(arguments).items() if value != parser.get_default(name)]
        beside = ", ".join(f"--{name}" for name in given if name not in ("join", "out"))
        if beside:
            parser.error(f"--join measures nothing and takes --out alone beside it: leave out {beside}")
    elif arguments.reviews is None:
        parser.error("the following arguments are required: --reviews")
    if not 0 < arguments.warmup_steps < arguments.steps or arguments.trial_steps < 2:
        parser.error("--warmup_steps must lie between 0 and --steps, and a trial has 2 steps or more")
    if min(arguments.devices) < 1:
        parser.error("--devices are 1 or more")
    if arguments.trial_variants + arguments.trial_compiled < 1:
        parser.error("--trial_variants is 1 or more: a single one is taken without a trial")
    return arguments


def recorded(words: Sequence[str], script: str = "vs_peers.py") -> str:
    """Writes the command as it is recorded: without the places where files lie on this machine.

    The words of `--ours` stay as they are: they say what a row is, and are in its record's key too.

    Args:
        words: the words of the command line, the script's name left out.
        script: that name.

    Returns:
        A line for a shell, with DIR for a folder and FILE for a file.
    """
    parts: list[str] = []
    awaited: str | None = None
    for word in words:
        if awaited is not None:
            parts.append(_without_place(awaited, word))
            awaited = None
            continue
        name, equals, value = word.partition("=")
        option = _place_option(name)
        if option is not None and equals:
            parts.append(f"{name}={_without_place(option, value)}")
        else:
            parts.append(word)
            awaited = option
    return shlex.join(["python", f"benchmarks/{script}", *parts])


def _parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--reviews", help="folder with train and test files, as --data.source takes it")
    backbone = made.add_mutually_exclusive_group(required=True)
    shapes = f"folder with config.json and tokenizer, or one of {', '.join(SHAPES)}: random weights"
    backbone.add_argument("--shape", help=shapes)
    backbone.add_argument("--backbone", help="`embedded`, or a folder with weights")
    backbone.add_argument("--join", nargs="+", type=Path, metavar="DIR", help="join what these folders hold into --out")
    add("--out", type=Path, required=True, help="folder for vs_peers.json and vs_peers.md")
    add("--peers", nargs="+", choices=PEERS, help="by default all that train such a backbone")
    methods = sorted(set(itertools.chain(*METHODS_OF.values())))
    add("--methods", nargs="+", choices=methods, help="recipes; by default the study's, or a decoder's lora and qlora")
    add("--devices", nargs="+", type=int, default=[1], help="GPUs of a process, each trains batches of its own")
    add("--batch_sizes", nargs="+", type=int, default=[8])
    add("--max_lengths", nargs="+", type=int, default=[256])
    add("--steps", type=int, default=100, help="optimiser steps of each process")
    add("--warmup_steps", type=int, default=30, help="steps before the clock starts")
    add("--repeats", type=int, default=3)
    add("--learning_rate", type=float, default=5e-5, help="of every peer; the study's code ran 5e-5")
    add("--ours", action="append", type=_named_words, metavar="NAME=WORDS", help="a row of this project and its words")
    add("--adapters_site", type=Path, help="folder with the packages of `adapters`; without it, it is not measured")
    tried = "variants of the HF Trainer to try for each method and size; a single one is taken without a trial"
    add("--trial_variants", type=int, default=4, help=tried)
    add("--trial_compiled", type=int, default=0, help="further ones to try under torch_compile, at most 2")
    add("--trial_steps", type=int, default=60)
    add("--whole_job", action="store_true", help="the study's whole job as well, at the first size")
    add("--n_train", type=int, default=3000, help="reviews of the whole job")
    add("--n_test", type=int, default=2000, help="reviews that the whole job is tested on")
    add("--epochs", type=int, default=3, help="epochs of the whole job")
    add("--budget_s", type=float, help="start no process that will not end within so many seconds")
    add("--time_limit_s", type=float, default=600, help="for one process")
    add("--scratch", type=Path, help="folder that keeps a decoder's random weights for another call")
    add("--retry", action="store_true", help="run once more what failed")
    add("--dry_run", action="store_true", help="list the processes and start none")
    return made


def _named_words(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, words = text.partition("=")
    if not name or not equals or "-" in name[:1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=WORDS, such as bf16=--trainer.precision bf16-mixed")
    return name, tuple(shlex.split(words))


def _place_option(name: str) -> str | None:
    """The option that takes a place, also where it is abbreviated, as argparse allows."""
    if not name.startswith("--") or name == "--":
        return None
    return next((option for option in _PLACES if option.startswith(name)), None)


def _without_place(option: str, value: str) -> str:
    path = Path(value).expanduser()
    if option in _OR_WORDS and not path.exists():
        return value
    return "FILE" if path.is_file() else "DIR"
