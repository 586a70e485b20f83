"""Merges the files that a command line names into one, which LightningCLI takes."""

import json
from collections.abc import Sequence
from pathlib import Path

from peft_lightning.commands.shorthands import expand
from peft_lightning.commands.tracker_settings import flags_with_folders, with_folders
from peft_lightning.recipes import class_flags, find_config, merge, read_merged, split_arguments


def merge_files(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Merges the files of a command line.

    Args:
        words: The words after the command's own.

    Returns:
        The words with at most one ``--config``, the merged files, at their beginning; and the files, in order.

    Raises:
        UserError: If a file cannot be read.
    """
    named, rest = split_arguments(expand(words))
    files = [find_config(name) for name in named]
    config = read_merged(files)
    config = with_folders(merge(config, class_flags(rest))) if config else config
    rest = flags_with_folders(rest, config)
    merged = ["--config", json.dumps(config, default=str)] if config else []
    return [*merged, *rest], files
