"""Files of settings: how they are found and merged, and what a command line changes in them."""

from peft_lightning.recipes.flags import class_flags, read_flags, split_arguments
from peft_lightning.recipes.recipe_files import (
    find_config,
    find_recipe,
    is_packaged,
    recipe_name,
    recipe_of_method,
)
from peft_lightning.recipes.settings_files import Config, merge, method_of, read_config, read_merged

__all__ = [
    "Config",
    "class_flags",
    "find_config",
    "find_recipe",
    "is_packaged",
    "merge",
    "method_of",
    "read_config",
    "read_flags",
    "read_merged",
    "recipe_name",
    "recipe_of_method",
    "split_arguments",
]
