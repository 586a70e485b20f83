"""Short flags that users know from other programs, and the settings that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from argparse import ArgumentParser

# Each shorthand and its meaning; the word in capitals is the user's value.
SHORTHANDS = {
    "--method NAME": "--config configs/NAME.yaml",
    "--n_train N": "--data.n_train N",
    "--n_test N": "--data.n_test N",
    "--flash_attn": "--model.attn_implementation flash_attention_2",
}
SHORT_NAMES = [short.split()[0].removeprefix("--") for short in SHORTHANDS]
# The shorthands for settings of a run, independent of its method.
RUN_SETTINGS = {short: long for short, long in SHORTHANDS.items() if not long.startswith("--config")}


def expand(words: Sequence[str], table: Mapping[str, str] = SHORTHANDS) -> list[str]:
    """Replaces shorthands by the settings they stand for; a recipe comes before all other files.

    >>> expand(["--config", "mine.yaml", "--n_train=100", "--flash_attn"], RUN_SETTINGS)
    ['--config', 'mine.yaml', '--data.n_train', '100', '--model.attn_implementation', 'flash_attention_2']

    Args:
        words: The words after the command's own.
        table: The shorthands that the command takes.

    Returns:
        The words without shorthands.

    Raises:
        UserError: If a shorthand lacks its value, or ``--method`` names no recipe or a second one.
    """
    recipes: list[str] = []
    rest: list[str] = []
    templates = {short.split()[0]: (short.partition(" ")[2], long) for short, long in table.items()}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if name not in templates:
            rest.append(word)
            continue
        blank, long = templates[name]
        if blank and not equals:
            value = remaining.pop(0) if remaining and not remaining[0].startswith("--") else ""
        if bool(blank) != bool(value):
            raise UserError(f"{word}: say {name} {blank}" if blank else f"{word}: say {name} and no value")
        if name == "--method":
            recipes.append(value)
        else:
            rest += [part.replace(blank, value) if blank else part for part in long.split()]
    if not recipes:
        return rest
    return ["--config", _recipe_file(recipes, rest), *rest]


def add_to_help(parser: ArgumentParser, table: Mapping[str, str] = SHORTHANDS) -> None:
    """Adds the shorthands to a command's help; they are expanded before the parser runs.

    Args:
        parser: The command's parser.
        table: The shorthands that the command takes.
    """
    from argparse import SUPPRESS, Action

    group = parser.add_argument_group("shorthands")
    for short, long in table.items():
        name, _, blank = short.partition(" ")
        takes = None if blank else 0
        shown = Action([name], "", takes, default=SUPPRESS, metavar=blank, help=long)
        group._group_actions.append(shown)


def _recipe_file(names: Sequence[str], words: Sequence[str]) -> str:
    """Returns the recipe that ``--method`` names; refuses other files that are recipes too."""
    from peft_lightning.recipes import find_config, find_recipe, method_of, read_config, split_arguments

    if len(names) > 1:
        raise UserError(f"--method {names[0]} and --method {names[1]}: a run has one method, name one")
    file = find_recipe(names[0])
    for other in split_arguments(list(words))[0]:
        method = method_of(read_config(find_config(other)))
        # An overlay may set r of the recipe's LoRA. A file that names a class is another recipe.
        if isinstance(method, str) or (isinstance(method, Mapping) and "class_path" in method):
            raise UserError(f"--method {names[0]} and --config {other} both name a method: leave one of them out")
    return file
